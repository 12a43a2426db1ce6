package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/export"
	"github.com/stepexec/stepexec/pipeline/portable"
	"github.com/stepexec/stepexec/run"
)

// convertOptions are the flags of `stepexec convert`.
type convertOptions struct {
	pipelines []string
	dir       string
	asDocker  bool
	env       []string // NAME=value, put into the files
	to        string   // format of the files: native, woodpecker or drone
}

func newConvert() *cobra.Command {
	o := &convertOptions{}
	cmd := &cobra.Command{
		Use:   "convert [FILE]",
		Short: "Write the pipelines of one CI system as files of another",
		Long: `Print a pipeline of another CI system, such as that of a .drone.yml, as a native
pipeline file, or with --to as one of Woodpecker or Drone. Of a file with several
pipelines, --pipeline chooses one, and --dir writes a file for each, or the one
.drone.yml that Drone reads. What a native file cannot express, the order of pipelines
and their triggers, is reported on stderr.

Values that are the same for every build are filled in: those of --env, and what the git
checkout says about the repository. Other variables of the build become ${env.NAME}, to
be set for each run: stepexec run --env NAME=VALUE. Where a native file allows no
variables, an unknown variable is an error.

With --to woodpecker or drone, variables of the build get the server's name for them. A
key that the server's files cannot express is an error that names it.`,
		Example: "  stepexec convert .drone.yml > pipeline.yml\n  stepexec convert --dir ci .drone.yml\n  stepexec convert --to woodpecker --dir .woodpecker .drone.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.convert(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	addPipelines(cmd.Flags(), &o.pipelines)
	cmd.Flags().BoolVar(&o.asDocker, "as-docker", false, "convert Drone's pipelines of the types kubernetes and exec, too")
	cmd.Flags().StringArrayVarP(&o.env, "env", "e", nil, "put this value into the files: `NAME=VALUE`")
	cmd.Flags().StringVar(&o.to, "to", string(export.Native), "`FORMAT` of what is written: native, woodpecker or drone")
	complete(cmd, "to", string(export.Native), string(export.Woodpecker), string(export.Drone))
	cmd.Flags().StringVar(&o.dir, "dir", "", "write a file for each pipeline into this `directory`")
	return cmd
}

func (o *convertOptions) convert(ctx context.Context, stdout io.Writer, args []string) error {
	if to := export.Format(o.to); to != export.Native && to != export.Drone && to != export.Woodpecker {
		return fmt.Errorf("--to %s: must be native, woodpecker or drone", o.to)
	}
	from, err := (&run.Request{File: firstOf(args), Raw: true, AsDocker: o.asDocker, Environment: o.env}).Load(ctx)
	if err != nil {
		return err
	}
	for _, warning := range from.Set.Warnings {
		sayOnStderr("warning: " + warning.Error())
	}
	var errs []error // of pipelines that are not converted; the others are
	names := o.pipelines
	if len(names) == 0 {
		for _, w := range from.Set.Workflows {
			if len(w.Steps) == 0 && w.LeftOut != "" && len(w.Wrong) == 0 {
				errs = append(errs, fmt.Errorf("convert pipeline %s: %s", w.Name, w.LeftOut))
				continue
			}
			names = append(names, w.Name)
		}
		if len(names) == 0 {
			return errors.Join(errs...)
		}
	}
	chosen, err := from.Choose(names, sayOnStderr)
	if err != nil {
		return err
	}
	if o.dir == "" && len(chosen) > 1 && export.Format(o.to) != export.Drone {
		return fmt.Errorf("%s has several pipelines (choose one: --pipeline NAME, of %s; or write all: --dir DIR)", from.File, run.PipelineNames(chosen))
	}
	if export.Format(o.to) == export.Drone {
		return errors.Join(append(errs, o.documents(stdout, from, chosen))...)
	}
	for i := range chosen {
		text, err := o.text(from, &chosen[i])
		if err == nil {
			err = o.write(stdout, fileName(&chosen[i])+".yml", text)
		}
		if err != nil {
			err = fmt.Errorf("convert pipeline %s: %w", chosen[i].Name, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// documents writes the only file of a repository that Drone reads. Each pipeline is a document
// of it, so that pipelines may depend on each other.
func (o *convertOptions) documents(stdout io.Writer, from *run.Source, chosen []pipeline.Workflow) error {
	var all []byte
	var errs []error
	for i := range chosen {
		text, err := o.text(from, &chosen[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("convert pipeline %s: %w", chosen[i].Name, err))
			continue
		}
		if len(all) > 0 {
			all = append(all, "---\n"...)
		}
		all = append(all, text...)
	}
	if len(all) > 0 {
		errs = append(errs, o.write(stdout, ".drone.yml", all))
	}
	return errors.Join(errs...)
}

// text is the file of a pipeline. Its losses are told.
func (o *convertOptions) text(from *run.Source, w *pipeline.Workflow) (text []byte, err error) {
	var losses, emptied []string
	if to := export.Format(o.to); to == export.Native {
		if from.Format != "" {
			if emptied, err = portable.Convert(w); err != nil {
				return nil, err
			}
		}
		if text, err = pipeline.Write(w.Pipeline); err != nil {
			return nil, err
		}
		losses = append(emptied, lossesOf(w, text)...)
	} else if text, losses, err = export.Write(w, export.Format(cmp.Or(from.Format, string(export.Native))), to); err != nil {
		return nil, err
	}
	for _, loss := range losses {
		sayOnStderr(fmt.Sprintf("warning: pipeline %s: %s", w.Name, loss))
	}
	return text, nil
}

// write writes a file into the directory, or to stdout. Its name is such that it is read in its
// own format.
func (o *convertOptions) write(stdout io.Writer, name string, text []byte) error {
	if o.dir == "" {
		_, err := stdout.Write(text)
		return err
	}
	if err := os.MkdirAll(o.dir, 0o777); err != nil {
		return err
	}
	file, own := filepath.Join(o.dir, name), o.to
	if own == string(export.Native) {
		own = ""
	}
	read := run.FormatOfName(file)
	if read != own && read != "" {
		file = filepath.Join(o.dir, o.to+"-"+name)
		read = run.FormatOfName(file)
	}
	if read != own && read != "" {
		return fmt.Errorf("--dir %s: files in this folder are another CI system's (choose another)", o.dir)
	}
	if read != own { // of Woodpecker: the name .drone.yml tells
		sayOnStderr(fmt.Sprintf("warning: %s: Woodpecker looks for its files in the folder .woodpecker (move it there)", file))
	}
	if _, err := os.Stat(file); err == nil {
		return fmt.Errorf("%s is there already (remove it first)", file)
	}
	if err := os.WriteFile(file, text, 0o666); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, file)
	return err
}

var notInFileName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^A-Za-z0-9._-]+`) })

func fileName(w *pipeline.Workflow) string {
	parts := []string{w.Name}
	for _, v := range w.Cell {
		parts = append(parts, v.Value)
	}
	return strings.Trim(notInFileName().ReplaceAllString(strings.Join(parts, "-"), "-"), "-.")
}

var substituted = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{env\.([A-Za-z0-9_]+)\}`) })

// lossesOf lists what the native file does not express.
func lossesOf(w *pipeline.Workflow, text []byte) []string {
	var losses []string
	losses = append(losses, renamed(w, text)...)
	if len(w.DependsOn) > 0 {
		losses = append(losses, "that it depends on "+strings.Join(w.DependsOn, ", ")+" is not in the native file")
	}
	if w.Conditional {
		losses = append(losses, "when it runs at all, its trigger, is not in the native file")
	}
	if len(w.Labels) > 0 {
		losses = append(losses, "which runners it needs is not in the native file")
	}
	var used []string
	for _, found := range substituted().FindAllStringSubmatch(string(text), -1) {
		used = append(used, found[1])
	}
	slices.Sort(used)
	if used = slices.Compact(used); len(used) > 0 {
		losses = append(losses, "a run needs variables that the CI server sets: --env "+strings.Join(used, ", --env "))
	}
	if slices.ContainsFunc(w.Steps, func(s pipeline.Step) bool {
		return slices.ContainsFunc(s.When, func(c pipeline.Condition) bool { return len(c.Event.Include)+len(c.Event.Exclude) > 0 })
	}) {
		losses = append(losses, "conditions are about the event, which is manual unless a run says another (--event push)")
	}
	var plugins []string
	for _, s := range slices.Concat(w.Services, w.Steps) {
		if len(s.Settings) > 0 {
			plugins = append(plugins, s.Name)
		}
	}
	if len(plugins) > 0 {
		losses = append(losses, "a plugin may read variables of the build by itself (give them by --env): "+strings.Join(plugins, ", "))
	}
	return losses
}

// renamed lists names that the native file does not accept.
func renamed(w *pipeline.Workflow, text []byte) []string {
	native, err := pipeline.Parse("", text)
	if err != nil || len(native.Services) != len(w.Services) || len(native.Steps) != len(w.Steps) {
		return nil // Write has already parsed it
	}
	var told []string
	compare := func(what string, before, after []pipeline.Step) {
		for i := range before {
			if before[i].Name != after[i].Name {
				told = append(told, fmt.Sprintf("%s %q is called %q in the native file", what, before[i].Name, after[i].Name))
			}
		}
	}
	compare("service", w.Services, native.Services)
	compare("step", w.Steps, native.Steps)
	return told
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
)

// A format reads files of one CI system.
type format struct {
	name  string
	files []string // files, or folders, where `run` looks without FILE
	event string   // that a build on the command line has, when nothing says another

	// owns reports whether the file or folder is of this format, by its name or by what
	// is in it. Content is nil for a folder.
	owns func(path string, content []byte) bool

	// root is the folder that holds the repository: the workspace.
	root func(path string) string

	// load reads a file, or a folder. The error is a pipeline.Errors, where the file is to
	// blame.
	load func(path string, in formatInputs) (*pipeline.Set, error)
}

// formatInputs are what conditions and substitutions of a format may depend on.
type formatInputs struct {
	build   pipeline.Build
	environ []string // NAME=value of --env and --env-file
	raw     bool     // for convert: nothing of the build is put into the pipelines
}

// formats are those beside the native one, in the order in which they are looked for.
func formats() []format { return []format{droneFormat(), woodpeckerFormat()} }

// nativeFiles are where `run` and `validate` look first without FILE.
func nativeFiles() []string { return []string{"pipeline.yml", "pipeline.yaml", ".stepexec.yml"} }

// findFile is the pipeline file that the arguments name, or the default one.
func findFile(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	all := nativeFiles()
	found, err := firstFile(all)
	if found != "" || err != nil {
		return found, err
	}
	for _, f := range formats() {
		name, err := firstFile(f.files)
		if err != nil {
			return "", err
		}
		if name != "" && found != "" {
			return "", fmt.Errorf("there are %s and %s in the working directory (name one of them)", found, name)
		}
		found = cmp.Or(found, name)
		all = append(all, f.files...)
	}
	if found == "" {
		return "", fmt.Errorf("no pipeline file: there is none of %s in the working directory (name one: stepexec run FILE)", strings.Join(all, ", "))
	}
	return found, nil
}

func firstFile(names []string) (string, error) {
	for _, name := range names {
		_, err := os.Stat(name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// formatOf is the format of a file or folder, nil for the native one.
func formatOf(path string) (*format, error) {
	content, err := os.ReadFile(path)
	isFolder := errors.Is(err, syscall.EISDIR)
	if err != nil && !isFolder {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	if isFolder {
		content = nil
	}
	all := formats()
	at := slices.IndexFunc(all, func(f format) bool { return f.owns(path, content) })
	switch {
	case at >= 0:
		return &all[at], nil
	case isFolder:
		return nil, fmt.Errorf("read pipeline file: %s is a directory (name a file in it)", path)
	}
	return nil, nil
}

// isFormatFolder reports whether a folder holds the files of a format.
func isFormatFolder(path string) bool {
	return slices.ContainsFunc(formats(), func(f format) bool { return f.owns(path, nil) })
}

// A source is a pipeline file that has been read, or a folder of them.
type source struct {
	file string
	dir  string // relative paths and the workspace start here
	set  *pipeline.Set

	build *pipeline.Build // nil of a native file, whose facts are asked for by its conditions
}

// pipelineFlags choose among the pipelines of a file or folder.
type pipelineFlags struct{ names []string }

func (f *pipelineFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.names, "pipeline", nil, "only the pipeline `NAME` of a file that has several (may be repeated)")
}

// load reads the file that the arguments name. What a format asks for of the build is
// found out here.
func (o *runOptions) load(ctx context.Context, args []string) (source, error) {
	file, err := findFile(args)
	if err != nil {
		return source{}, err
	}
	f, err := formatOf(file)
	if err != nil {
		return source{}, err
	}
	s := source{file: file, dir: filepath.Dir(file)}
	if f == nil {
		p, err := parseFile(file)
		s.set = &pipeline.Set{Workflows: []pipeline.Workflow{{Pipeline: p}}}
		return s, err
	}
	s.dir = f.root(file)
	in := formatInputs{raw: o.raw}
	if in.environ, err = o.flagVariables(); err != nil {
		return s, err
	}
	if in.build, err = o.facts.build(ctx, s.dir, o.platform, f.event); err != nil {
		return s, err
	}
	s.build = &in.build
	s.set, err = f.load(file, in)
	return s, err
}

// flagVariables are those of --env-file and --env, of which the later ones win.
func (o *runOptions) flagVariables() ([]string, error) {
	var all []string
	for _, file := range o.envFiles {
		entries, err := pipeline.ReadEnvFile(file)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		all = append(all, entries...)
	}
	given, err := variables("--env", o.env)
	return append(all, given...), err
}

// chosen are the pipelines of the set that are to run: those that --pipeline names, or
// those that their conditions do not keep out. The others are told on stderr.
func (s *source) chosen(names []string) ([]pipeline.Workflow, error) {
	all := s.set.Workflows
	for _, name := range names {
		if !slices.ContainsFunc(all, func(w pipeline.Workflow) bool { return w.Name == name }) {
			return nil, fmt.Errorf("--pipeline %s: %s has no such pipeline (it has %s)", name, s.file, pipelineNames(all))
		}
	}
	if len(names) > 0 {
		return slices.DeleteFunc(slices.Clone(all), func(w pipeline.Workflow) bool { return !slices.Contains(names, w.Name) }), nil
	}
	var chosen []pipeline.Workflow
	for _, w := range all {
		if w.LeftOut != "" {
			sayOnStderr(fmt.Sprintf("pipeline %s is left out: %s", w.Name, w.LeftOut))
			continue
		}
		chosen = append(chosen, w)
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%s: no pipeline is left to run (choose one: --pipeline NAME, or say what is built: --event, --branch)", s.file)
	}
	return chosen, nil
}

func pipelineNames(all []pipeline.Workflow) string {
	var names []string
	for _, w := range all {
		if !slices.Contains(names, w.Name) {
			names = append(names, w.Name)
		}
	}
	return strings.Join(names, ", ")
}

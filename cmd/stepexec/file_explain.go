package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
)

func newExplain() *cobra.Command {
	o := &runOptions{}
	var egressOf string
	cmd := &cobra.Command{
		Use:   "explain [FILE] [STEP]",
		Short: "Explain why each step runs or is skipped",
		Long: `Print for each step of a pipeline whether it would run, after which steps, and because
of which condition, with the values that the conditions use. With STEP, print what the
step would run with: image, environment, mounts, limits. Nothing runs and nothing is
pulled. Secrets are masked, and need not be given.

With --egress RUN, print what the steps of an earlier run with egress rules reached
outside the run, and the list that allows it, to paste into the file. RUN may be latest.`,
		Example: `  stepexec explain --branch main --event push
  stepexec explain ci/pipeline.yml deploy`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if egressOf != "" {
				return explainEgress(cmd.OutOrStdout(), o.root, egressOf)
			}
			file, step := fileAndStep(args)
			jobs, err := o.jobs(cmd.Context(), file, true)
			if err != nil {
				return err
			}
			if step != "" {
				if jobs, err = withStep(cmd.Context(), jobs, step); err != nil {
					return err
				}
			}
			for _, job := range jobs {
				planned, err := job.Plan(cmd.Context())
				if err != nil {
					return err
				}
				if err := explain(cmd.OutOrStdout(), job, planned, o.root, step); err != nil {
					return run.Masked(err, job.Secrets)
				}
			}
			return nil
		},
	}
	o.addPlan(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&egressOf, "egress", "", "in place of that, what the steps of `RUN` have reached outside it, and the list that allows it")
	flags.StringArrayVar(&o.only, "only", nil, "as for run: only this `STEP` (may be repeated)")
	flags.BoolVar(&o.withNeeds, "with-needs", false, "as for run: also the steps that those of --only depend on")
	flags.StringArrayVar(&o.skip, "skip", nil, "as for run: leave out this `STEP` (may be repeated)")
	return cmd
}

func explain(w io.Writer, j *run.Job, p *run.Planned, root, step string) (err error) {
	plan := p.Plan
	var text strings.Builder
	if plan.Cell != "" {
		fmt.Fprintf(&text, "# %s\n", plan.Cell)
	}
	if step == "" {
		err = explainAll(&text, j, plan)
	} else {
		err = explainStep(&text, p, root, step)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, p.Admitted.Mask().String(text.String()))
	return err
}

// fileAndStep tells the arguments apart.
func fileAndStep(args []string) (file []string, step string) {
	switch len(args) {
	case 0:
		return nil, ""
	case 2:
		return args[:1], args[1]
	}
	if namesStep(args[0]) {
		return nil, args[0]
	}
	return args, ""
}

// namesStep reports whether an argument that can be a file or a step is a step: it names no file and
// no folder of pipeline files, and is not in the form of a file's name or a path.
func namesStep(arg string) bool {
	if arg == "." || arg == ".." || strings.ContainsRune(arg, filepath.Separator) || slices.Contains([]string{".yml", ".yaml", ".star", ".jsonnet", ".json"}, filepath.Ext(arg)) {
		return false
	}
	info, err := os.Stat(arg)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() && !run.IsFormatFolder(arg)
}

// withStep returns the runs that have a step of that name, or all of them if none has.
func withStep(ctx context.Context, jobs []*run.Job, step string) ([]*run.Job, error) {
	var with []*run.Job
	for _, j := range jobs {
		p, err := j.Plan(ctx)
		if err != nil {
			return nil, err
		}
		isStep := func(s pipeline.PlannedStep) bool { return s.Name == step }
		if slices.ContainsFunc(p.Plan.Services, isStep) || slices.ContainsFunc(p.Plan.Steps, isStep) ||
			slices.ContainsFunc(p.Plan.LeftOut, func(s pipeline.LeftOut) bool { return s.Name == step }) {
			with = append(with, j)
		}
	}
	if len(with) == 0 {
		return jobs, nil
	}
	return with, nil
}

// explainAll writes the variables of the conditions, and one line per step.
func explainAll(w io.Writer, j *run.Job, plan *pipeline.Plan) error {
	f := j.Facts
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, fact := range [][2]string{
		{"branch", f.Branch}, {"tag", f.Tag}, {"event", f.Event}, {"ref", f.Ref}, {"repo", f.Repo},
		{"instance", f.Instance}, {"platform", f.Platform}, {"cron", f.Cron}, {"action", f.Action}, {"deploy", f.Deploy},
	} {
		if fact[1] != "" {
			fmt.Fprintf(table, "%s\t%s\n", fact[0], fact[1])
		}
	}
	if f.FilesKnown {
		fmt.Fprintf(table, "changed\t%s\n", strings.Join(f.Files, ", "))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	table = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STEP\tRUNS\tBECAUSE")
	for _, s := range explained(j, plan) {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.name, s.runs, s.why)
	}
	return table.Flush()
}

type explanation struct{ name, runs, why string }

// explained returns explanations in the order of the file.
func explained(j *run.Job, plan *pipeline.Plan) []explanation {
	var all []explanation
	for i := range j.Pipeline.Steps {
		name := j.Pipeline.Steps[i].Name
		if at := slices.IndexFunc(plan.Steps, func(s pipeline.PlannedStep) bool { return s.Name == name }); at >= 0 {
			s := &plan.Steps[at]
			all = append(all, explanation{name, runsOn(s.RunOn), orDash(s.Reason)})
			continue
		}
		why := "not chosen (--only, --skip)"
		if at := slices.IndexFunc(plan.LeftOut, func(s pipeline.LeftOut) bool { return s.Name == name }); at >= 0 {
			why = orDash(plan.LeftOut[at].Reason)
		}
		all = append(all, explanation{name, "no", why})
	}
	return all
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// runsOn says after which outcomes a step runs.
func runsOn(on pipeline.RunOn) string {
	switch {
	case on.Cancel:
		return "always"
	case on.Success && on.Failure:
		return "also after a failure"
	case on.Failure:
		return "after a failure"
	}
	return "yes"
}

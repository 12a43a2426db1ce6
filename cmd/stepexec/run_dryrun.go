package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
)

const dryRunFlag = "dry-run"

// isDryRun reports whether a command only shows what it would do, which needs no root.
func isDryRun(cmd *cobra.Command) bool {
	dry, err := cmd.Flags().GetBool(dryRunFlag)
	return err == nil && dry // an error means that it has no such flag
}

// dryRun describes what one run would do.
type dryRun struct {
	Name      string    `json:"name"`
	Cell      string    `json:"cell,omitempty"` // identifies one of several runs
	After     []string  `json:"after,omitempty"`
	Workspace string    `json:"workspace,omitempty"` // empty for the run's own workspace
	Steps     []dryStep `json:"steps"`               // services first, then steps as they would start, then those that would not run
}

// dryStep is a step or service of a dry run.
type dryStep struct {
	Step     string        `json:"step"`
	Service  bool          `json:"service,omitempty"`
	Runs     string        `json:"runs"` // yes, no, after a failure, ...
	After    []string      `json:"after,omitempty"`
	Image    string        `json:"image,omitempty"`
	Platform string        `json:"platform,omitempty"`
	Digest   digest.Digest `json:"digest,omitempty"`
	Locked   bool          `json:"locked,omitempty"` // the digest is from the lock file
	Supply   fetch.Supply  `json:"supply,omitempty"`
	Because  string        `json:"because,omitempty"`
	// Signature lists the rules that require a signature, and the keys that satisfy them
	Signature string `json:"signature,omitempty"`
}

// showDryRun makes the same plans as run, and shows them.
func (o *runOptions) showDryRun(ctx context.Context, stdout io.Writer, args []string) error {
	if !slices.Contains([]string{"", "tty", "plain", "json"}, o.output.format) {
		return fmt.Errorf("--dry-run --output %s: must be plain or json", o.output.format)
	}
	if len(o.reports.files) > 0 {
		return errors.New("--dry-run: there is nothing to write a --report of")
	}
	jobs, err := o.jobs(ctx, args, true)
	if err != nil {
		return err
	}
	if err := run.CheckOnly(jobs); err != nil {
		return err
	}
	var runs []dryRun
	for _, j := range jobs {
		p, err := j.Plan(ctx)
		if err != nil {
			return err
		}
		r, err := dryRunOf(j, p, o.root)
		if err != nil {
			return run.Masked(err, j.Secrets)
		}
		runs = append(runs, r)
	}
	if o.output.format == "json" {
		return printJSON(stdout, map[string][]dryRun{"runs": runs})
	}
	return printDryRuns(stdout, runs)
}

// dryRunOf returns what a job would do, without any secrets.
func dryRunOf(j *run.Job, p *run.Planned, root string) (dryRun, error) {
	mask := p.Admitted.Mask()
	r := dryRun{Name: mask.String(p.Plan.Name), Cell: mask.String(p.Plan.Cell), After: j.DependsOn}
	if !p.Plan.OwnWorkspace {
		r.Workspace = mask.String(p.Plan.WorkspaceSource)
	}
	add := func(s *pipeline.PlannedStep, service bool) error {
		step := dryStep{Step: mask.String(s.Name), Service: service, Runs: runsOn(s.RunOn), Because: mask.String(s.Reason), Image: mask.String(s.Image)}
		if done, ok := p.Done[s.Name]; ok {
			r.Steps = append(r.Steps, dryStep{Step: step.Step, Runs: "done", Because: mask.String(done.Reason)})
			return nil
		}
		for _, name := range slices.Concat(s.Needs, s.DependsOn) {
			step.After = append(step.After, mask.String(name))
		}
		seen, err := p.Fetcher.For(s.Platform).Foresee(root, s.Image, s.Pull)
		if err != nil {
			return fmt.Errorf("step %s: image %s: %w", s.Name, s.Image, err)
		}
		step.Platform, step.Digest, step.Locked, step.Supply = seen.Platform, seen.Digest, seen.Locked, seen.Supply
		step.Signature = seen.Signature
		r.Steps = append(r.Steps, step)
		return nil
	}
	for i := range p.Plan.Services {
		if err := add(&p.Plan.Services[i], true); err != nil {
			return r, err
		}
	}
	for _, s := range inOrder(p.Plan.Steps) {
		if err := add(s, false); err != nil {
			return r, err
		}
	}
	for _, e := range explained(j, p.Plan) {
		if e.runs == "no" {
			r.Steps = append(r.Steps, dryStep{Step: mask.String(e.name), Runs: e.runs, Because: mask.String(e.why)})
		}
	}
	return r, nil
}

// inOrder returns the steps in the order in which they would start one at a time: each after those
// that it depends on, and otherwise as in the file.
func inOrder(steps []pipeline.PlannedStep) []*pipeline.PlannedStep {
	var order []*pipeline.PlannedStep
	started := map[string]bool{}
	for len(order) < len(steps) {
		i := slices.IndexFunc(steps, func(s pipeline.PlannedStep) bool {
			return !started[s.Name] && !slices.ContainsFunc(s.DependsOn, func(name string) bool { return !started[name] })
		})
		started[steps[i].Name] = true // there always is one: a plan has no cycles
		order = append(order, &steps[i])
	}
	return order
}

func printDryRuns(w io.Writer, runs []dryRun) error {
	var text strings.Builder
	for i, r := range runs {
		if i > 0 {
			text.WriteString("\n")
		}
		r.print(&text)
	}
	text.WriteString("\nnothing was pulled or started\n")
	_, err := io.WriteString(w, text.String())
	return err
}

func (r *dryRun) print(w io.Writer) {
	fmt.Fprintf(w, "# %s", r.Name)
	if r.Cell != "" && r.Cell != r.Name {
		fmt.Fprintf(w, " (%s)", r.Cell)
	}
	if len(r.After) > 0 {
		fmt.Fprintf(w, ", after %s", strings.Join(r.After, ", "))
	}
	fmt.Fprintf(w, "\nworkspace: %s\n\n", cmp.Or(r.Workspace, "one of its own"))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STEP\tRUNS\tAFTER\tIMAGE\tFROM\tBECAUSE")
	for _, s := range r.Steps {
		runs, image := s.Runs, s.Image
		if s.Service {
			runs = "service"
		}
		if s.Digest != "" && !strings.Contains(image, "@") {
			image += "@" + s.Digest.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Step, runs, dash(strings.Join(s.After, ", ")), dash(image), s.from(), dash(s.Because))
	}
	_ = table.Flush() // writing to a builder cannot fail
}

// from describes where the image would come from.
func (s *dryStep) from() string {
	from := map[fetch.Supply]string{
		fetch.FromStore: "store", fetch.FromRegistry: "registry", fetch.FromEither: "registry, if changed", fetch.FromMachine: "this machine",
		fetch.FromNowhere: "nowhere: not in the store, and may not be pulled",
	}[s.Supply]
	if s.Locked {
		from += " (locked)"
	}
	return dash(from)
}

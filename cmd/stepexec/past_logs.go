package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
)

// logsOptions are the flags of `stepexec logs`.
type logsOptions struct {
	root   string
	follow bool
	json   bool
}

func newLogs() *cobra.Command {
	o := &logsOptions{}
	cmd := &cobra.Command{
		Use:   "logs RUN [STEP]",
		Short: "Show what a run printed",
		Long: `Show what a run printed, as run --output plain does, with the output of services.
With STEP, show what that step or service printed and nothing else. RUN is the run's
id, or the beginning of it, or latest.

The record of a run of stepexec step has its output only if it ran with --detach:
otherwise the output belongs to whoever called it.`,
		Example: `  stepexec logs 4qpj
  stepexec logs 4qpj build -f`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			step := ""
			if len(args) > 1 {
				step = args[1]
			}
			return o.show(cmd.Context(), cmd.OutOrStdout(), args[0], step)
		},
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on until the run ends")
	cmd.Flags().BoolVar(&o.json, "json", false, "print events, one line of JSON each, as run --output json does")
	addRoot(cmd.Flags(), &o.root)
	return cmd
}

func (o *logsOptions) show(ctx context.Context, stdout io.Writer, run, step string) error {
	r, err := findRecord(o.root, run)
	if err != nil {
		return err
	}
	if step != "" && !slices.ContainsFunc(r.Steps, func(s record.StepRecord) bool { return s.Name == step }) {
		return fmt.Errorf("run %s has no step %q (its steps: %s)", r.Run, step, strings.Join(stepNames(r), ", "))
	}
	isLive := func() bool {
		live, err := liveNow(o.root)
		return err == nil && live(r.Run)
	}
	live := isLive
	if !o.follow {
		live = nil
	}
	ended := false
	each := o.printer(stdout, step)
	err = r.ReadLog(ctx, live, func(line []byte) error {
		ended = ended || record.IsKind(line, event.RunFinished)
		return each(line)
	})
	if err == nil && !ended && !isLive() {
		sayOnStderr(fmt.Sprintf("run %s died here: its record has no end", r.Run))
	}
	return err
}

func stepNames(r record.Record) []string {
	var names []string
	for _, s := range r.Steps {
		names = append(names, s.Name)
	}
	return names
}

// latest is the name for the run that began last.
const latest = "latest"

// findRecord finds the record of the run whose id begins with prefix, or the most recent one for
// the prefix latest.
func findRecord(root, prefix string) (record.Record, error) {
	if prefix == latest {
		var failed error
		for r, err := range record.NewestFirst(root) {
			if err == nil {
				return r, nil // errors about the others do not matter
			}
			failed = errors.Join(failed, err)
		}
		if failed == nil {
			failed = fmt.Errorf("there is %w of a run yet in %s%s", record.ErrNotFound, root, otherRoot(root))
		}
		return record.Record{}, failed
	}
	r, err := record.Find(root, prefix)
	if errors.Is(err, record.ErrNotFound) {
		return r, fmt.Errorf("run %s: %w in %s%s", prefix, err, root, cmp.Or(otherRoot(root), " (stepexec history lists the runs that have one)"))
	}
	if err != nil {
		return r, fmt.Errorf("run %s: %w", prefix, err)
	}
	return r, nil
}

// printer returns a function that prints lines of the log: those of all steps or of one, as JSON or
// as text.
func (o *logsOptions) printer(w io.Writer, step string) func(line []byte) error {
	plain, sanitizers := report.NewPlain(w), map[string]*logs.Sanitizer{event.Stdout: {}, event.Stderr: {}}
	plain.Services = true
	return func(line []byte) error {
		if o.json && step == "" {
			_, err := w.Write(line)
			return err
		}
		if step != "" && !o.json && !record.IsKind(line, event.Line) {
			return nil
		}
		e, err := record.Decode(line)
		if err != nil || step != "" && e.Step != step {
			return err
		}
		switch {
		case o.json:
			_, err = w.Write(line)
		case step == "":
			plain.Event(e)
			err = plain.Err()
		case e.Partial:
			_, err = io.WriteString(w, sanitizers[e.Stream].Line(e.Text))
		default:
			_, err = io.WriteString(w, sanitizers[e.Stream].Line(e.Text)+"\n")
		}
		return err
	}
}

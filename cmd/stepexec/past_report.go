package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
)

// reportOptions are the flags of `stepexec report`.
type reportOptions struct {
	root   string
	format string
	file   string
}

func newReport() *cobra.Command {
	o := &reportOptions{}
	cmd := &cobra.Command{
		Use:   "report RUN...",
		Short: "Write a report on recorded runs",
		Long: `Write a report on a run from its record, as an HTML page, JSON, JUnit XML or Markdown.
RUN is the run's id, or the beginning of it, or latest. Several runs, such as the cells
of a matrix, share one report. The report of a run that is in progress, or was killed,
covers what happened so far.

The output of stepexec step is not in its record, and so not in this report: use its
own flag --report.`,
		Example: `  stepexec report latest
  stepexec report 4qpj -o report.html
  stepexec report 4qpj --format junit >junit.xml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.write(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	cmd.Flags().StringVar(&o.format, "format", "", "`KIND` of report: "+inWords(report.Kinds())+" (default: as the file of -o ends, else markdown)")
	cmd.Flags().StringVarP(&o.file, "output", "o", "", "`FILE` to write to (default: stdout)")
	complete(cmd, "format", report.Kinds()...)
	addRoot(cmd.Flags(), &o.root)
	return cmd
}

func (o *reportOptions) write(ctx context.Context, stdout io.Writer, runs []string) (err error) {
	kind := report.KindMarkdown
	if o.format != "" {
		if kind, err = report.ParseKind(o.format); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
	}
	if o.file == "" {
		made, err := o.collect(ctx, runs)
		if err != nil {
			return err
		}
		buffer := bufio.NewWriter(stdout)
		return errors.Join(report.Write(buffer, kind, made), buffer.Flush())
	}
	name := o.file
	if o.format != "" {
		name = o.format + "=" + name
	}
	file, err := openReport(name)
	if err != nil {
		return fmt.Errorf("-o %s: %w", o.file, err)
	}
	defer func() { err = errors.Join(err, file.close()) }()
	made, err := o.collect(ctx, runs)
	if err != nil {
		return err
	}
	return file.write(made)
}

// collect makes the report from the records.
func (o *reportOptions) collect(ctx context.Context, runs []string) (*report.Report, error) {
	isLive, err := liveNow(o.root)
	if err != nil {
		return nil, err
	}
	collector := report.NewCollector(0)
	live := map[string]bool{}
	var seen []string
	for _, prefix := range runs {
		r, err := findRecord(o.root, prefix)
		if err != nil {
			return nil, err
		}
		if slices.Contains(seen, r.Run) {
			continue
		}
		seen = append(seen, r.Run)
		live[r.Run] = isLive(r.Run)
		if err := collectRecord(ctx, rooted(o.root, func(e *event.Event) { collector.Event(*e) }), collector, r); err != nil {
			return nil, fmt.Errorf("run %s: %w", r.Run, err)
		}
	}
	made := collector.Report()
	made.MarkDied(func(run string) bool { return live[run] })
	addPast(o.root, made)
	return made, nil
}

// collectRecord takes a run from its record.
func collectRecord(ctx context.Context, take func(*event.Event), c *report.Collector, r record.Record) error {
	c.Plan(r.Run, r.Run, r.Name, r.Started, r.Plan())
	return r.ReadLog(ctx, nil, func(line []byte) error {
		e, err := record.Decode(line)
		if err != nil {
			return err
		}
		e.Cell = r.Run // lines of a log have no cell, because all are of the same run
		take(&e)
		return nil
	})
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/sandbox"
)

// pastRun is a run as `stepexec history` shows it.
type pastRun struct {
	record.Record
	Status event.Status `json:"status"`
}

// died is the status of a run whose process ended before the run did.
const died event.Status = "died"

func newHistory() *cobra.Command {
	var root string
	var asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the recorded runs",
		Long: `List the recorded runs, the newest first. The settings file says how many records
are kept, and for how long.`,
		Example: "  stepexec history -n 10",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 0 {
				return fmt.Errorf("-n %d: must not be negative", most)
			}
			runs, damaged := pastRuns(root, most)
			printer := printHistory
			if asJSON {
				printer = func(w io.Writer, runs []pastRun) error { return printJSON(w, runs) }
			}
			if len(runs) == 0 && damaged == nil {
				sayOnStderr("no run is recorded in " + root + otherRoot(root))
			}
			return errors.Join(printer(cmd.OutOrStdout(), runs), damaged)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array, with the plan and the steps' results")
	cmd.Flags().IntVarP(&most, "number", "n", 0, "list the newest `N` (default: all)")
	addRoot(cmd.Flags(), &root)
	return cmd
}

// pastRuns reads the records of the newest runs, at most so many; 0 means all. The error describes
// records that cannot be read.
func pastRuns(root string, most int) (runs []pastRun, damaged error) {
	runs = []pastRun{}
	isLive, err := liveNow(root)
	if err != nil {
		return nil, err
	}
	for r, err := range record.NewestFirst(root) {
		if err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		status := died
		switch {
		case r.Summary != nil:
			status = r.Summary.Status
		case isLive(r.Run):
			status = event.Running
		}
		if runs = append(runs, pastRun{r, status}); len(runs) == most {
			break
		}
	}
	return runs, damaged
}

// liveNow returns a function that reports whether a run is live now.
func liveNow(root string) (func(run string) bool, error) {
	ids, err := sandbox.LiveIDs(root)
	return func(run string) bool { return ids[run] }, err
}

func printHistory(w io.Writer, runs []pastRun) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tPIPELINE\tUSER\tSTARTED\tSTATUS\tEXIT CODE\tDURATION")
	for _, r := range runs {
		code, duration := "-", "-"
		if r.Summary != nil {
			code = strconv.Itoa(r.Summary.ExitCode)
			duration = report.Duration(r.Summary.Duration)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Run, dash(r.Name), r.User, r.Started.Local().Format(time.DateTime), r.Status, code, duration)
	}
	return table.Flush()
}

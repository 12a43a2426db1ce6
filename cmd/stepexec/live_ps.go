package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
)

// liveRun is a run as `stepexec ps` shows it.
type liveRun struct {
	Run      string    `json:"run"`
	Pipeline string    `json:"pipeline,omitempty"`
	User     string    `json:"user"`
	PID      int       `json:"pid,omitempty"` // 0: not visible from here
	Started  time.Time `json:"started,omitzero"`
	Running  []string  `json:"running"` // steps and services
}

func newPs() *cobra.Command {
	var root string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "List the runs in progress",
		Long:    "List the runs in progress, with the process and the running steps of each.",
		Example: "  stepexec ps",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			runs, err := listRuns(root)
			if err != nil {
				return err
			}
			if len(runs) == 0 {
				sayOnStderr("no run is in progress in " + root + otherRoot(root))
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), runs)
			}
			return printRuns(cmd.OutOrStdout(), runs)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	addRoot(cmd.Flags(), &root)
	return cmd
}

func listRuns(root string) ([]liveRun, error) {
	live, err := sandbox.ListLive(root)
	if err != nil {
		return nil, err
	}
	runs := []liveRun{}
	for _, l := range live {
		shown := liveRun{Run: l.ID, User: run.UserName(l.UID), Running: []string{}}
		if shown.PID, err = l.PID(); err != nil && !errors.Is(err, sandbox.ErrNoProcess) {
			return nil, err
		}
		switch r, err := record.Find(root, l.ID); {
		case errors.Is(err, record.ErrNotFound) || errors.Is(err, os.ErrNotExist): // it has just begun, or keeps no record
		case err != nil:
			return nil, err
		default:
			shown.Pipeline, shown.Started = r.Name, r.Started
			running, err := r.Running()
			if err != nil {
				return nil, err
			}
			shown.Running = append(shown.Running, running...)
		}
		runs = append(runs, shown)
	}
	return runs, nil
}

func printRuns(w io.Writer, runs []liveRun) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tPIPELINE\tUSER\tPID\tSTARTED\tRUNNING")
	for _, r := range runs {
		pid, started := "-", "-"
		if r.PID != 0 {
			pid = fmt.Sprint(r.PID)
		}
		if !r.Started.IsZero() {
			started = r.Started.Local().Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Run, dash(r.Pipeline), r.User, pid, started, dash(strings.Join(r.Running, ", ")))
	}
	return table.Flush()
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func printJSON(w io.Writer, value any) error {
	encoder := event.NewEncoder(w)
	encoder.Indent = "  "
	return encoder.Encode(value)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/sandbox"
)

func newStop() *cobra.Command {
	var root string
	var now bool
	cmd := &cobra.Command{
		Use:   "stop RUN",
		Short: "Stop a run in progress",
		Long: `Stop a run in progress, as SIGTERM to its process does: running steps get their stop
signal and are killed after the grace time; steps that have not started are cancelled.
stop returns when the run has ended. RUN is the run's id, or the beginning of it, or
latest: the newest of the runs in progress.`,
		Example: "  stepexec stop 4qpj",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := findLive(root, args[0])
			if err != nil {
				return err
			}
			if err := stopRun(cmd.Context(), run, now); err != nil {
				return fmt.Errorf("stop run %s: %w", run.ID, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "stopped %s\n", run.ID)
			return err
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "kill running steps at once, without the grace")
	addRoot(cmd.Flags(), &root)
	return cmd
}

// stopRun sends a second signal to skip the grace. It is a different signal, because the kernel
// delivers two identical pending signals only once.
func stopRun(ctx context.Context, run sandbox.Live, now bool) error {
	signals := []unix.Signal{unix.SIGTERM}
	if now {
		signals = append(signals, unix.SIGINT)
	}
	return run.Stop(ctx, signals...)
}

// newest returns the run that began last, according to the records, or latest when there are none.
func newest(root string, ids []string) string {
	for r, err := range record.NewestFirst(root) {
		if err == nil && slices.Contains(ids, r.Run) { // errors about other records do not matter
			return r.Run
		}
	}
	return latest
}

// findLive finds the live run whose id begins with prefix.
func findLive(root, prefix string) (sandbox.Live, error) {
	live, err := sandbox.ListLive(root)
	if err != nil {
		return sandbox.Live{}, err
	}
	byID := map[string]sandbox.Live{}
	var ids []string
	for _, l := range live {
		byID[l.ID] = l
		ids = append(ids, l.ID)
	}
	if prefix == latest {
		prefix = newest(root, ids)
	}
	id, err := record.Match(ids, prefix)
	if errors.Is(err, record.ErrNotFound) {
		return sandbox.Live{}, fmt.Errorf("run %s: it is not going on in %s%s", prefix, root, cmp.Or(otherRoot(root), " (stepexec ps lists the runs that are)"))
	}
	if err != nil {
		return sandbox.Live{}, fmt.Errorf("run %s: %w", prefix, err)
	}
	return byID[id], nil
}

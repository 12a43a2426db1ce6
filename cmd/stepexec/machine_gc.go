package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/actions"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

// gcOptions are the flags of `stepexec gc`.
type gcOptions struct {
	root, runtime string
	settings      settingsFlags
}

func newGc() *cobra.Command {
	o := &gcOptions{}
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Clean up after runs that were killed",
		Long: `Remove what killed runs have left behind: containers, mounts, networks, directories,
builds of actions and unfinished layers. Records beyond the limits in the settings go,
too. Every run does the same when it starts and ends; gc does it now. Images stay: see
stepexec prune.`,
		Example: "  stepexec gc",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.collect(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.settings.add(cmd.Flags())
	addRuntime(cmd.Flags(), &o.runtime)
	addRoot(cmd.Flags(), &o.root)
	return cmd
}

// collect does all of the work, even when a part of it fails.
func (o *gcOptions) collect(ctx context.Context, stdout io.Writer) error {
	s, err := o.settings.load()
	if err != nil {
		return err
	}
	runs, reapErr := sandbox.Reap(ctx, sandbox.Options{Root: o.root, Runtime: o.runtime})
	if errors.Is(reapErr, sandbox.ErrNoRuntime) || errors.Is(reapErr, sandbox.ErrPrivilege) {
		return reapErr
	}
	files, sweepErr := o.sweepStore()
	keptErr := errors.Join(sweepKept(o.root), actions.ClearBuilds(ctx, o.root))
	records, trimErr := run.TrimHistory(o.root, s)
	var failed []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(stdout, format+"\n", args...)
		failed = append(failed, err)
	}
	for _, run := range runs {
		say("cleared away run %s", run)
	}
	say("cleared away: %d runs, %d unfinished files, %d records", len(runs), files, records)
	return errors.Join(reapErr, sweepErr, keptErr, trimErr, errors.Join(failed...))
}

// sweepStore makes the store remove unfinished work, which happens when it is opened.
func (o *gcOptions) sweepStore() (removed int, err error) {
	tmp := filepath.Join(o.root, "tmp")
	before, err := os.ReadDir(tmp)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	store, err := unpack.OpenStore(o.root)
	if err != nil {
		return 0, err
	}
	for _, entry := range before {
		if _, err := os.Lstat(filepath.Join(tmp, entry.Name())); errors.Is(err, os.ErrNotExist) {
			removed++
		}
	}
	return removed, store.Close()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/actions"
	"github.com/stepexec/stepexec/settings"
	"github.com/stepexec/stepexec/unpack"
)

// pruneOptions are the flags of `stepexec prune`.
type pruneOptions struct {
	root, runtime string
	all           bool
	caches        bool
	olderThan     time.Duration
	keep          string
}

func newPrune() *cobra.Command {
	o := &pruneOptions{}
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove unneeded data from the store",
		Long: `Remove the layers that no image in the store needs: those of tags that have moved, of
removed images and of failed pulls. --older-than and --keep-storage also remove images,
the least recently used first. With both, an image goes if either limit says so. What
builds of actions have kept goes as a whole, by the same limits.

Whatever a live run uses stays. What killed runs left behind is removed first.`,
		Example: "  stepexec prune --older-than 168h --keep-storage 20GB",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.prune(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all", false, "remove all images that are not in use")
	flags.DurationVar(&o.olderThan, "older-than", 0, "remove images that were not used for this `time`, such as 72h")
	flags.BoolVar(&o.caches, "caches", false, "remove the caches of pipelines, too, with and without keys; with --older-than, those not used for that time")
	flags.StringVar(&o.keep, "keep-storage", "", "remove images until the store takes up no more than `SIZE`, such as 20GB")
	cmd.MarkFlagsMutuallyExclusive("all", "older-than")
	cmd.MarkFlagsMutuallyExclusive("all", "keep-storage")
	addRuntime(flags, &o.runtime)
	addRoot(flags, &o.root)
	return cmd
}

func (o *pruneOptions) prune(ctx context.Context, stdout io.Writer) error {
	options := unpack.PruneOptions{All: o.all, OlderThan: o.olderThan}
	if o.olderThan < 0 {
		return fmt.Errorf("--older-than %s: must be positive", o.olderThan)
	}
	if o.keep != "" {
		bytes, err := settings.ParseSize(o.keep)
		if err != nil {
			return fmt.Errorf("--keep-storage: %w (to remove all images: --all)", err)
		}
		options.KeepBytes = bytes
	}
	store, err := openIdleStore(ctx, o.root, o.runtime)
	if err != nil {
		return err
	}
	freed, err := store.Prune(ctx, options)
	err = errors.Join(err, printFreed(stdout, freed), o.pruneBuilds(ctx, options, stdout))
	if o.caches {
		removed, cachesErr := run.PruneCaches(o.root, o.olderThan)
		for _, name := range removed {
			_, printErr := fmt.Fprintf(stdout, "removed cache %s\n", name)
			err = errors.Join(err, printErr)
		}
		keyed, keyedErr := run.KeyedStore(o.root, settings.Settings{}).Remove(ctx, cache.Unused(o.olderThan))
		for _, e := range keyed {
			_, printErr := fmt.Fprintf(stdout, "removed cache %s (%s)\n", e.ID(), logs.Quote(e.Name))
			err = errors.Join(err, printErr)
		}
		err = errors.Join(err, cachesErr, keyedErr)
	}
	return err
}

// pruneBuilds removes what builds of actions have kept, under the same limits.
func (o *pruneOptions) pruneBuilds(ctx context.Context, limits unpack.PruneOptions, stdout io.Writer) error {
	freed, err := actions.PruneBuilds(ctx, o.root, actions.BuildLimits{All: limits.All, OlderThan: limits.OlderThan, KeepBytes: limits.KeepBytes})
	if freed > 0 {
		_, printErr := fmt.Fprintf(stdout, "freed %s: the storage of builds of actions\n", units.HumanSize(float64(freed)))
		err = errors.Join(err, printErr)
	}
	return err
}

// openIdleStore clears away the leftovers of killed runs and opens the store.
func openIdleStore(ctx context.Context, root, runtime string) (*unpack.Store, error) {
	if err := run.ClearDeadRuns(ctx, root, runtime); err != nil {
		return nil, err
	}
	return unpack.OpenStore(root)
}

func printFreed(w io.Writer, freed unpack.Freed) error {
	var failed []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		failed = append(failed, err)
	}
	for _, i := range freed.Images {
		say("removed %s (%s)", i.Reference, i.Platform)
	}
	for _, i := range freed.InUse {
		say("kept %s (%s): in use", i.Reference, i.Platform)
	}
	say("freed %s: %d images, %d layers", units.HumanSize(float64(freed.Bytes)), len(freed.Images), freed.Layers)
	return errors.Join(failed...)
}

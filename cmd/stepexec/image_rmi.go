package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

func newRmi() *cobra.Command {
	var root, runtime, platform string
	cmd := &cobra.Command{
		Use:   "rmi IMAGE...",
		Short: "Remove images from the store",
		Long: `Remove images from the store, and those of their layers that no other image needs.
IMAGE is the reference that was pulled, or the name that stepexec images shows.
An image that a run uses is not removed.`,
		Example: "  stepexec rmi golang:1.25",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openIdleStore(cmd.Context(), root, runtime)
			if err != nil {
				return err
			}
			return removeImages(cmd.Context(), cmd.OutOrStdout(), store, args, platform)
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "platform of the images, such as linux/arm64 (default: all that are there)")
	addRuntime(cmd.Flags(), &runtime)
	addRoot(cmd.Flags(), &root)
	return cmd
}

// otherName returns the other name of an image of this machine: oci:DIR is also pulled as
// oci:DIR:latest. It returns "" for other images.
func otherName(ref pull.Reference) string {
	switch {
	case !ref.IsLocal() || ref.Digest != "":
		return ""
	case ref.Tag == "":
		return ref.String() + ":latest"
	case ref.Tag == "latest":
		ref.Tag = ""
		return ref.String()
	}
	return ""
}

// removeImages continues after an image that cannot be removed.
func removeImages(ctx context.Context, stdout io.Writer, store *unpack.Store, images []string, platform string) error {
	fetcher := &fetch.Fetcher{Store: store}
	var all unpack.Freed
	var failed []error
	for _, image := range images {
		ref, err := fetcher.Parse(image)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		freed, err := store.RemoveImage(ctx, ref.String(), platform)
		if other := otherName(ref); errors.Is(err, unpack.ErrNotFound) && other != "" {
			if again, otherErr := store.RemoveImage(ctx, other, platform); !errors.Is(otherErr, unpack.ErrNotFound) {
				freed, err = again, otherErr
			}
		}
		failed = append(failed, err)
		all.Images = append(all.Images, freed.Images...)
		all.Layers += freed.Layers
		all.Bytes += freed.Bytes
	}
	err := errors.Join(failed...)
	if err != nil && len(all.Images) == 0 && all.Layers == 0 {
		return err
	}
	return errors.Join(err, printFreed(stdout, all))
}

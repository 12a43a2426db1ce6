package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

func newLoad() *cobra.Command {
	var root, platform string
	cmd := &cobra.Command{
		Use:   "load FILE [NAME...]",
		Short: "Put the images of a docker save archive into the store",
		Long: `Put the images of an archive that docker save or podman save wrote into the store,
under the names that the archive gives them, so that pipelines use them without a
registry. Of an archive of several images, name those to load. An archive can claim
any name: load only what you trust.`,
		Example: "  docker save golang:1.26 -o golang.tar\n  stepexec load golang.tar",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := sandbox.CheckPrivilege(); err != nil {
				return err
			}
			store, err := unpack.OpenStore(root)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			fetcher := &engine.Fetcher{Store: store, Platform: platform}
			tags := args[1:]
			if len(tags) == 0 {
				tags = []string{""}
			}
			if err := load(cmd.Context(), cmd.OutOrStdout(), fetcher, args[0], tags); err != nil {
				return err
			}
			return store.Settle()
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "platform of the images, such as linux/arm64 (default: this machine's)")
	addRoot(cmd.Flags(), &root)
	return cmd
}

func load(ctx context.Context, stdout io.Writer, fetcher *engine.Fetcher, file string, tags []string) error {
	for _, tag := range tags {
		images, err := fetcher.Load(ctx, file, tag)
		if err != nil {
			return err
		}
		for _, image := range images {
			if _, err := fmt.Fprintf(stdout, "%s\n%s\n", image.Name, image.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

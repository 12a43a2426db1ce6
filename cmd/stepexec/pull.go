package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

func newPull() *cobra.Command {
	var root, platform string
	var registries registryFlags
	cmd := &cobra.Command{
		Use:   "pull IMAGE",
		Short: "Fetch an image into the store",
		Long: `Fetch an image and unpack its layers into the store, so that steps which use it
need no network. IMAGE is a registry reference (golang:1.26), oci:DIR[:TAG],
oci-archive:FILE or docker-archive:FILE. Credentials come from docker's config.json
and its credential helpers: docker login REGISTRY.`,
		Example: "  stepexec pull golang:1.26\n  stepexec pull --platform linux/arm64 127.0.0.1:5000/app@sha256:...",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := sandbox.CheckPrivilege(); err != nil {
				return err
			}
			options, err := registries.options()
			if err != nil {
				return err
			}
			store, err := unpack.OpenStore(root)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			fetcher := &engine.Fetcher{Store: store, Platform: platform, Options: options}
			image, err := fetcher.Fetch(cmd.Context(), args[0], pipeline.PullAlways)
			if err != nil {
				return err
			}
			if err := store.Settle(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", image.Name, image.Digest)
			return err
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "platform of the image, such as linux/arm64 (default: this machine's)")
	registries.add(cmd.Flags())
	addRoot(cmd.Flags(), &root)
	return cmd
}

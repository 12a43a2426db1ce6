package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/sandbox"
)

// pullOptions are the flags of `stepexec pull`.
type pullOptions struct {
	root, runtime, platform string
	settings                settingsFlags
}

func newPull() *cobra.Command {
	o := &pullOptions{}
	cmd := &cobra.Command{
		Use:   "pull IMAGE",
		Short: "Fetch an image into the store",
		Long: `Fetch an image and unpack its layers into the store, so that steps which use it
need no network. IMAGE is a registry reference (golang:1.26), oci:DIR[:TAG],
oci-archive:FILE, dir:DIR, docker-archive:FILE, docker-daemon:NAME or containers-storage:NAME.
Credentials come from docker's config.json and its credential helpers: docker login REGISTRY.`,
		Example: "  stepexec pull golang:1.26\n  stepexec pull --platform linux/arm64 127.0.0.1:5000/app@sha256:...",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.pull(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.platform, "platform", "", "platform of the image, such as linux/arm64 (default: this machine's)")
	o.settings.add(flags)
	o.settings.addRegistries(flags)
	o.settings.addStore(flags)
	addRuntime(flags, &o.runtime)
	addRoot(flags, &o.root)
	return cmd
}

func (o *pullOptions) pull(ctx context.Context, stdout io.Writer, name string) error {
	if err := sandbox.CheckPrivilege(); err != nil {
		return err
	}
	s, err := o.settings.load()
	if err != nil {
		return err
	}
	var image *fetch.Image
	err = takeIn(ctx, s, o.root, o.runtime, o.platform, func(fetcher *fetch.Fetcher) (err error) {
		fetcher.Options = pull.Options{Registries: s.Registries}
		image, err = fetcher.Fetch(ctx, name, pipeline.PullAlways)
		return err
	})
	if image != nil && image.Warning != "" {
		sayOnStderr("warning: " + image.Warning)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n%s\n", image.Name, image.Digest)
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/sandbox"
)

// loadOptions are the flags of `stepexec load`.
type loadOptions struct {
	root, runtime, platform string
	settings                settingsFlags
}

func newLoad() *cobra.Command {
	o := &loadOptions{}
	cmd := &cobra.Command{
		Use:   "load FILE [NAME...]",
		Short: "Put the images of an archive into the store",
		Long: `Put the images of an archive into the store, so that pipelines use them without a
registry: of one that docker save or podman save wrote, or of the tar of an OCI image
layout, compressed (gzip, zstd, xz) or not. FILE - is standard input. Without NAME it is
all images, under the names that the archive gives them; with NAME those alone. The
only image of an archive that does not name it gets NAME. An archive can claim any
name: load only what you trust.`,
		Example: "  docker save golang:1.26 -o golang.tar\n  stepexec load golang.tar\n  docker save golang:1.26 | stepexec load -\n  stepexec load docker-daemon:golang:1.26\n  stepexec load app.oci.tar registry.example.com/app:1",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.load(cmd.Context(), cmd.OutOrStdout(), args[0], args[1:])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.platform, "platform", "", "platform of the images, such as linux/arm64 (default: this machine's)")
	o.settings.add(flags)
	o.settings.addStore(flags)
	addRuntime(flags, &o.runtime)
	addRoot(flags, &o.root)
	return cmd
}

func (o *loadOptions) load(ctx context.Context, stdout io.Writer, name string, names []string) (err error) {
	if err := sandbox.CheckPrivilege(); err != nil {
		return err
	}
	s, err := o.settings.load()
	if err != nil {
		return err
	}
	file, release, err := o.archive(ctx, name)
	if err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, release()) }()
	if len(names) == 0 {
		names = []string{""}
	}
	var loaded []*fetch.Image
	err = takeIn(ctx, s, o.root, o.runtime, o.platform, func(fetcher *fetch.Fetcher) error {
		for _, name := range names {
			images, err := fetcher.Load(ctx, file, name)
			loaded = append(loaded, images...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, image := range loaded {
		if image.Warning != "" {
			sayOnStderr("warning: " + image.Warning)
		}
		if _, printErr := fmt.Fprintf(stdout, "%s\n%s\n", image.Name, image.Digest); printErr != nil {
			return errors.Join(err, printErr)
		}
	}
	return err
}

// archive returns the path of an archive of images.
func (o *loadOptions) archive(ctx context.Context, name string) (path string, release func() error, err error) {
	if ref, err := pull.ParseReference(name); err == nil && ref.IsEngines() {
		return pull.Export(ctx, ref)
	}
	return pull.Spool(name)
}

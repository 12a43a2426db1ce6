package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/sandbox"
)

// loadOptions are the flags of `stepexec load`.
type loadOptions struct {
	root, runtime, platform, input string
	settings                       settingsFlags
}

func newLoad() *cobra.Command {
	o := &loadOptions{}
	cmd := &cobra.Command{
		Use:   "load [FILE [NAME...]]",
		Short: "Load the images of an archive into the store",
		Long: `Load the images of an archive into the store, so that pipelines can use them without a
registry. The archive comes from docker save or podman save, or is the tar of an OCI
image layout, and may be compressed (gzip, zstd, xz). Without FILE, or with -, it is read
from standard input. All its images are loaded, under the names that the archive gives
them, or only those with a NAME. If the archive has a single image without a name, the
image gets NAME. An archive can claim any name: load only archives that you trust.`,
		Example: "  docker save golang:1.26 -o golang.tar\n  stepexec load golang.tar\n  docker save golang:1.26 | stepexec load -\n  stepexec load docker-daemon:golang:1.26\n  stepexec load app.oci.tar registry.example.com/app:1",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, names, err := o.source(args, cmd.InOrStdin())
			if err != nil {
				return err
			}
			return o.load(cmd.Context(), cmd.OutOrStdout(), name, names)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.input, "input", "i", "", "the archive's `FILE`; arguments are then names")
	flags.StringVar(&o.platform, "platform", "", "platform of the images, such as linux/arm64 (default: this machine's)")
	o.settings.add(flags)
	o.settings.addStore(flags)
	addRuntime(flags, &o.runtime)
	addRoot(flags, &o.root)
	return cmd
}

// source returns the archive and the names of images to load from it.
func (o *loadOptions) source(args []string, stdin io.Reader) (name string, names []string, err error) {
	switch {
	case o.input != "":
		return o.input, args, nil
	case len(args) > 0:
		return args[0], args[1:], nil
	case isTerminal(stdin):
		return "", nil, errors.New("load: no archive was given (name a file: stepexec load FILE, or pipe one in)")
	}
	return "-", nil, nil
}

func (o *loadOptions) load(ctx context.Context, stdout io.Writer, source string, names []string) (err error) {
	if err := sandbox.CheckPrivilege(); err != nil {
		return err
	}
	s, err := o.settings.load()
	if err != nil {
		return err
	}
	file, release, err := o.archive(ctx, source)
	if err != nil {
		return fmt.Errorf("load %s: %w", source, err)
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
				return spooled(err, file, source)
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

// spooledError is an error about the copy of an archive that came through a pipe.
type spooledError struct {
	error
	message string
}

func (e *spooledError) Error() string { return e.message }

func (e *spooledError) Unwrap() error { return e.error }

// spooled returns an error that names what the user gave instead of the copy of it.
func spooled(err error, file, source string) error {
	if file == source {
		return err
	}
	return &spooledError{err, strings.ReplaceAll(err.Error(), file, source)}
}

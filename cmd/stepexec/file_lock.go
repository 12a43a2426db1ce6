package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/lockfile"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/run"
)

func newLock() *cobra.Command {
	var platforms []string
	var flags settingsFlags
	cmd := &cobra.Command{
		Use:   "lock [FILE]",
		Short: "Write down the digests of a pipeline's images",
		Long: `Ask the registries for the digests of all images of a pipeline file and write them
beside it: pipeline.yml gets pipeline.lock. From then on stepexec run uses these
images, wherever their tags move, until lock is run again. Images named by digest and
those of this machine (oci:, oci-archive:, docker-archive:, rootfs:) are not locked.`,
		Example: "  stepexec lock\n  stepexec lock ci/pipeline.yml --platform linux/amd64 --platform linux/arm64",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := (&run.Request{File: firstOf(args)}).Load(cmd.Context())
			if err != nil {
				return err
			}
			s, err := flags.load()
			if err != nil {
				return err
			}
			return lock(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), from, platforms, pull.Options{Registries: s.Registries})
		},
	}
	cmd.Flags().StringArrayVar(&platforms, "platform", nil, "lock for this platform, such as linux/arm64; may be repeated (default: those of the lock file, else this machine's)")
	flags.add(cmd.Flags())
	flags.addRegistries(cmd.Flags())
	return cmd
}

func lock(ctx context.Context, stdout, stderr io.Writer, from *run.Source, platforms []string, options pull.Options) error {
	path := lockfile.Path(from.File)
	if len(platforms) == 0 {
		old, err := lockfile.Read(path)
		switch broken := new(lockfile.Error); {
		case errors.As(err, &broken): // half a merge, perhaps: it is written anew
			fmt.Fprintf(stderr, "stepexec: warning: %s:%d: %s: the lock file is written anew, for this machine's platform alone (name others with --platform)\n",
				broken.File, broken.Line, broken.Message)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		platforms = old.Platforms()
	}
	if len(platforms) == 0 {
		platforms = []string{fetch.HostPlatform()}
	}
	images := lockfile.Images{}
	for _, platform := range platforms {
		fetcher := &fetch.Fetcher{Dir: from.Dir, Platform: platform, Options: options}
		for _, w := range from.Set.Workflows {
			if err := lockImages(ctx, stdout, w.Pipeline, fetcher, images); err != nil {
				return err
			}
		}
	}
	return lockfile.Write(path, images)
}

// lockImages adds all images of the pipeline for the fetcher's platform.
func lockImages(ctx context.Context, stdout io.Writer, p *pipeline.Pipeline, fetcher *fetch.Fetcher, images lockfile.Images) error {
	for _, image := range imagesOf(p) {
		name, ok, err := fetcher.LockName(image.name)
		if err != nil {
			return err
		}
		fetcher := fetcher.For(image.platform)
		if !ok || images[name][fetcher.Platform] != "" {
			continue
		}
		d, err := fetcher.Digest(ctx, name)
		if err != nil {
			return err
		}
		images.Set(name, fetcher.Platform, d)
		if _, err := fmt.Fprintf(stdout, "%s %s %s\n", name, fetcher.Platform, d); err != nil {
			return err
		}
	}
	return nil
}

type platformImage struct{ name, platform string }

// imagesOf are the images of a pipeline, in every cell of its matrix.
func imagesOf(p *pipeline.Pipeline) []platformImage {
	var images []platformImage
	for _, cell := range p.Cells() {
		for _, step := range slices.Concat(p.Services, p.Steps) {
			images = append(images, platformImage{cell.Image(step.Image), step.Platform})
		}
	}
	return images
}

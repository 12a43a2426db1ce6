package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/lockfile"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/run"
)

func newLock() *cobra.Command {
	var platforms, updates []string
	var flags settingsFlags
	cmd := &cobra.Command{
		Use:   "lock [FILE]",
		Short: "Pin the images of a pipeline in a lock file",
		Long: `Ask the registries for the digests of all images of a pipeline file, and write them to
a lock file beside it: pipeline.lock for pipeline.yml. From then on stepexec run uses
exactly these images, even if their tags move, until lock is run again. Images named by
digest and local images (oci:, oci-archive:, dir:, docker-archive:, rootfs:,
docker-daemon:, containers-storage:) are not locked.
With --update STEP or --update IMAGE, only those images are looked up again: others
keep their digests, and new ones are added.`,
		Example: "  stepexec lock\n  stepexec lock --update build --update golang:1.26\n  stepexec lock ci/pipeline.yml --platform linux/amd64 --platform linux/arm64",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := (&run.Request{File: firstOf(args)}).Load(cmd.Context())
			if err != nil {
				return err
			}
			if err := from.Check(); err != nil {
				return err
			}
			s, err := flags.load()
			if err != nil {
				return err
			}
			return lock(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), from, platforms, updates, pull.Options{Registries: s.Registries})
		},
	}
	cmd.Flags().StringArrayVar(&platforms, "platform", nil, "lock for this platform, such as linux/arm64; may be repeated (default: those of the lock file, else this machine's)")
	cmd.Flags().StringArrayVar(&updates, "update", nil, "ask for the image of this `STEP|IMAGE` alone; may be repeated (default: for all)")
	flags.add(cmd.Flags())
	flags.addRegistries(cmd.Flags())
	return cmd
}

func lock(ctx context.Context, stdout, stderr io.Writer, from *run.Source, platforms, updates []string, options pull.Options) error {
	path := lockfile.Path(from.File)
	var kept lockfile.Images // entries that are not requested again
	if len(platforms) == 0 || len(updates) > 0 {
		old, err := lockfile.Read(path)
		switch broken := new(lockfile.Error); {
		case len(updates) > 0 && err != nil:
			return fmt.Errorf("--update: %w", err)
		case errors.As(err, &broken): // perhaps an unfinished merge: the file is written anew
			fmt.Fprintf(stderr, "stepexec: warning: %s:%d: %s: the lock file is written anew, for this machine's platform alone (name others with --platform)\n",
				broken.File, broken.Line, broken.Message)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if len(platforms) == 0 {
			platforms = old.Platforms()
		}
		if len(updates) > 0 {
			kept = old
		}
	}
	if len(platforms) == 0 {
		platforms = []string{fetch.HostPlatform()}
	}
	l := &locking{stdout: stdout, kept: kept, updates: map[string]bool{}, asked: map[string]bool{}, images: lockfile.Images{}}
	for _, name := range updates {
		l.updates[name] = false
	}
	for _, platform := range platforms {
		fetcher := &fetch.Fetcher{Dir: from.Dir, Platform: platform, Options: options}
		for _, w := range from.Set.Workflows {
			if err := l.add(ctx, w.Pipeline, fetcher); err != nil {
				return err
			}
		}
	}
	for _, name := range updates {
		if !l.updates[name] {
			return fmt.Errorf("--update %s: the pipeline has no such step or image that can be locked", name)
		}
	}
	return lockfile.Write(path, l.images)
}

// locking is a lock file that is being made.
type locking struct {
	stdout  io.Writer
	kept    lockfile.Images // entries of the old file; nil: all images are requested
	updates map[string]bool // names given with --update, and whether each was found
	asked   map[string]bool // images and platforms that a registry was asked about
	images  lockfile.Images
}

// isKept reports whether an image keeps its entry from the old file.
func (l *locking) isKept(image platformImage, name, platform string) bool {
	for _, asked := range []string{image.step, image.name, name} {
		if _, isAsked := l.updates[asked]; isAsked {
			l.updates[asked] = true
			return false
		}
	}
	return l.kept[name][platform] != ""
}

// add adds all images of the pipeline for the fetcher's platform.
func (l *locking) add(ctx context.Context, p *pipeline.Pipeline, fetcher *fetch.Fetcher) error {
	for _, image := range imagesOf(p) {
		if strings.Contains(image.name, "${env.") {
			return fmt.Errorf("lock the image of step %s: %s: each run chooses it by a variable (write its name to lock it)", image.step, image.name)
		}
		name, ok, err := fetcher.LockName(image.name)
		if err != nil {
			return err
		}
		fetcher := fetcher.For(image.platform)
		if !ok {
			continue
		}
		if l.isKept(image, name, fetcher.Platform) {
			if l.images[name][fetcher.Platform] == "" {
				l.images.Set(name, fetcher.Platform, l.kept[name][fetcher.Platform])
			}
			continue
		}
		if l.asked[name+" "+fetcher.Platform] {
			continue
		}
		l.asked[name+" "+fetcher.Platform] = true
		d, err := fetcher.Digest(ctx, name)
		if err != nil {
			return err
		}
		l.images.Set(name, fetcher.Platform, d)
		if _, err := fmt.Fprintf(l.stdout, "%s %s %s\n", name, fetcher.Platform, d); err != nil {
			return err
		}
	}
	return nil
}

type platformImage struct{ step, name, platform string }

// imagesOf returns the images of a pipeline, in every cell of its matrix.
func imagesOf(p *pipeline.Pipeline) []platformImage {
	var images []platformImage
	for _, cell := range p.Cells() {
		for _, step := range slices.Concat(p.Services, p.Steps) {
			images = append(images, platformImage{step.Name, cell.Image(step.Image), step.Platform})
		}
	}
	return images
}

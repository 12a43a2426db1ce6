package run

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/lockfile"
	"github.com/stepexec/stepexec/pipeline"
)

// useLock makes the fetcher use the lock file of the pipeline file. When the
// pipeline must be locked, there must be one, and it must have every image.
func useLock(fetcher *fetch.Fetcher, plan *pipeline.Plan, file string, must bool) error {
	path := lockfile.Path(file)
	images, err := lockfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if must {
			return fmt.Errorf("--locked: there is no %s (make it: stepexec lock %s)", path, file)
		}
		return nil
	}
	if err != nil {
		return err
	}
	fetcher.Locked = func(image, platform string) digest.Digest { return images[image][platform] }
	if !must {
		return nil
	}
	for _, step := range slices.Concat(plan.Services, plan.Steps) {
		name, ok, err := fetcher.LockName(step.Image)
		if err != nil {
			return err
		}
		platform := cmp.Or(step.Platform, fetcher.Platform, fetch.HostPlatform())
		if ok && images[name][platform] == "" {
			return fmt.Errorf("--locked: step %s: image %s (%s) is not in %s (add it: stepexec lock %s)", step.Name, name, platform, path, file)
		}
	}
	return nil
}

package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// OwnWorkspace creates a workspace for this run alone. It starts with the content of the folder,
// which is not copied unless the kernel refuses overlays; everything written to it is removed with
// the run. It does not include mounts below the folder. release removes it; the folder must not
// change before that.
func (h *Host) OwnWorkspace(ctx context.Context, folder string) (path string, release func() error, err error) {
	path = filepath.Join(h.dir, "workspace")
	release, err = h.mountRootfs(ctx, []string{folder}, "", filepath.Join(h.dir, "upper-workspace"), path, func() bool {
		_, err := os.Stat(h.kept())
		return err == nil // then it is kept, too
	})
	if err != nil {
		return "", nil, fmt.Errorf("make a workspace of the run's own from %s: %w", folder, err)
	}
	return path, release, nil
}

// Volume returns a folder on disk that the steps of this run share. It is created when missing, and
// removed with the Host. The user of any step may write to it.
func (h *Host) Volume(name string) (string, error) {
	path := filepath.Join(h.dir, "volumes", filepath.Base(name))
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o777) // the run's own folder keeps the host's users out
}

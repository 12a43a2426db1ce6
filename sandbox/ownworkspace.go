package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// OwnWorkspace makes a workspace that only this run has: it begins as the folder,
// of which nothing is copied unless the kernel refuses overlays, and what is written to it is gone with the run. Of
// what is mounted below the folder it has nothing. release takes it away; the
// folder must not be changed before.
func (h *Host) OwnWorkspace(ctx context.Context, folder string) (path string, release func() error, err error) {
	path = filepath.Join(h.dir, "workspace")
	release, err = h.mountRootfs(ctx, []string{folder}, filepath.Join(h.dir, "upper", "workspace"), path, func() bool {
		_, err := os.Stat(h.kept())
		return err == nil // then it is kept, too
	})
	if err != nil {
		return "", nil, fmt.Errorf("make a workspace of the run's own from %s: %w", folder, err)
	}
	return path, release, nil
}

// Volume is a folder on disk that the steps of this run share, made when missing and
// gone with the Host. Whoever a step runs as may write to it.
func (h *Host) Volume(name string) (string, error) {
	path := filepath.Join(h.dir, "volumes", filepath.Base(name))
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o777) // the run's own folder keeps the host's users out
}

package sandbox

import (
	"fmt"
	"path/filepath"
)

// OwnWorkspace makes a workspace that only this run has: it begins as the folder,
// of which nothing is copied, and what is written to it is gone with the run. Of
// what is mounted below the folder it has nothing. release takes it away; the
// folder must not be changed before.
func (h *Host) OwnWorkspace(folder string) (path string, release func() error, err error) {
	path = filepath.Join(h.dir, "workspace")
	release, err = mountRootfs([]string{folder}, filepath.Join(h.dir, "upper", "workspace"), path)
	if err != nil {
		return "", nil, fmt.Errorf("make a workspace of the run's own from %s: %w", folder, err)
	}
	return path, release, nil
}

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openBelow opens a file of the host that a step names. In the workspace, an earlier step may
// have replaced the file by a link, to make stepexec read or write any file of the host: links
// that lead out of the workspace are not followed. Elsewhere the file itself must not be a
// link. A FIFO does not block.
func openBelow(workspace, path string, flags int) (_ *os.File, err error) {
	flags |= unix.O_NONBLOCK
	rel, relErr := filepath.Rel(workspace, path)
	if workspace == "" || relErr != nil || !filepath.IsLocal(rel) {
		return os.OpenFile(path, flags|unix.O_NOFOLLOW, 0o644)
	}
	root, err := os.OpenRoot(workspace)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	file, err := root.OpenFile(rel, flags, 0o644)
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", workspace, err)
	}
	return file, nil
}

// openOutput opens the file for a step's output, at its end.
func (r *run) openOutput(path string) (io.WriteCloser, error) {
	file, err := openBelow(r.plan.WorkspaceSource, path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("open the step's output file: %w", err)
	}
	return file, nil
}

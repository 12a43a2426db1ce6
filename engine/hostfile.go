package engine

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// roots are the folders that nothing a step uses of the host may lead out of. A workspace
// that is named by a link counts by its real path too: a policy has resolved the paths in it.
func (r *run) roots() []string {
	roots := r.admitted.Roots()
	for _, workspace := range []string{r.plan.WorkspaceSource, r.shared} {
		roots = append(roots, workspace)
		if resolved, err := filepath.EvalSymlinks(workspace); err == nil && workspace != "" {
			roots = append(roots, resolved)
		}
	}
	return roots
}

// openHost opens a file of the host that a step names. In the workspace, and in folders that
// the policy lets steps use, an earlier step may have replaced the file, or a folder on the
// way, by a link, to make stepexec read or write any file of the host: links that lead out are
// refused. Elsewhere the file itself must not be a link. A FIFO does not block.
func (r *run) openHost(path string, flags int) (*os.File, error) {
	p := beneath.At(path, r.roots()...)
	if p.Root() == "" {
		flags |= unix.O_NOFOLLOW
	}
	return p.OpenFile(flags, 0o644)
}

// openOutput opens the file for a step's output, at its end.
func (r *run) openOutput(path string) (io.WriteCloser, error) {
	file, err := r.openHost(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("open the step's output file: %w", err)
	}
	return file, nil
}

package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// hostPath says which path of the host a step may use in place of the one that
// it asks for, all links resolved, for reading or also for writing. workspace,
// "" for none, may be used whatever the policy says. The error says what the
// step may not do.
//
// The path is opened beneath the workspace or one of Plan.Roots when it is used: a link
// that is put in the way afterwards then leads nowhere.
func (p *Policy) hostPath(workspace, path string, write bool) (string, error) {
	_, resolved, err := p.rootOf(workspace, path, write)
	return resolved, err
}

// rootOf is hostPath together with the allowed folder, or file, that the path is below.
func (p *Policy) rootOf(workspace, path string, write bool) (root, resolved string, err error) {
	resolved, err = resolve(path)
	if err != nil {
		return "", "", err
	}
	allowed := p.rules.mounts
	if workspace != "" {
		allowed = append([]hostPath{{workspace, true}}, allowed...)
	}
	readable := false
	for _, a := range allowed {
		root, err := resolve(a.path)
		if err != nil {
			return "", "", err
		}
		if isBelow(resolved, root) {
			if a.write || !write {
				return root, resolved, nil
			}
			readable = true
		}
	}
	switch {
	case readable:
		return "", "", errors.New("it may only be read")
	case resolved != strings.TrimRight(path, "/"):
		return "", "", fmt.Errorf("it is %s, which is below none of the paths there", resolved)
	}
	return "", "", errOutside
}

// open opens a file for reading that the pipeline names. The kernel follows no link out of
// the folder that allows it, also not one that is put in the way after the look at it. A
// FIFO does not block.
func (p *Policy) open(workspace, path string) (*os.File, error) {
	root, resolved, err := p.rootOf(workspace, path, false)
	if err != nil {
		return nil, err
	}
	if resolved == root {
		return os.OpenFile(resolved, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	}
	return beneath.At(resolved, root).OpenFile(os.O_RDONLY, 0)
}

// resolve follows all links of a path, in the kernel's way: what comes after a
// link, .. too, starts from where it leads. What does not exist yet keeps its
// name, for it can be made.
func resolve(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s is not an absolute path", path)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, os.ErrNotExist) {
		return resolved, err
	}
	path = strings.TrimRight(path, "/") // with which Lstat would follow the link
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s is a link that leads nowhere", path)
	}
	slash := strings.LastIndexByte(path, '/')
	parent, base := path[:slash+1], path[slash+1:]
	if base == ".." {
		return "", fmt.Errorf("%s: what is before the .. does not exist", path)
	}
	if parent, err = resolve(parent); err != nil {
		return "", err
	}
	return filepath.Join(parent, base), nil
}

// isBelow tells whether a clean path is dir or inside it.
func isBelow(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

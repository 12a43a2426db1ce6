package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// stageSources makes sure that every bind mount has a source, and hands those
// in directories that steps write to on to the runtime as mounts of their own,
// in a place that no step can reach. An earlier step may have put a link to /etc
// where such a source was, or do so in the moment between a look at it and its
// use (CVE-2017-1002101, CVE-2024-1753): what is opened beneath the directory is
// beneath it, and a mount does not change what it means. The returned release
// takes them away again.
//
// A missing source is an error: docker makes it, as root and often by a typing
// error; here it is asked for.
func (h *Host) stageSources(step *Step, list []specs.Mount) (release func() error, err error) {
	stage := staging{dir: filepath.Join(h.dir, "sources", step.ID)}
	for _, m := range step.Mounts {
		if m.Type != "bind" {
			continue
		}
		source, err := stage.source(step, m)
		if errors.Is(err, os.ErrNotExist) {
			err = errors.New("no such file or directory on the host (create it, or set create: true)")
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("mount %s at %s: %w", m.Source, m.Destination, err), stage.release())
		}
		for i := range list {
			if list[i].Destination == filepath.Clean(m.Destination) {
				list[i].Source = source
			}
		}
	}
	return stage.release, nil
}

// staging is where the sources of one step's mounts are mounted.
type staging struct {
	dir   string
	paths []string
}

// source returns the path by which the runtime is to mount m's source.
func (s *staging) source(step *Step, m Mount) (string, error) {
	root, below := rootOf(step, m.Source)
	if root == "" || below == "." {
		if m.Create {
			return m.Source, os.MkdirAll(m.Source, 0o755)
		}
		_, err := os.Stat(m.Source)
		return m.Source, err
	}
	if m.Create {
		if err := os.MkdirAll(root, 0o755); err != nil {
			return "", err
		}
	}
	file, err := openSource(root, below, m.Create)
	if errors.Is(err, unix.EXDEV) {
		return "", fmt.Errorf("refused: a link leads out of %s", root)
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	return s.mount(file)
}

func openSource(root, below string, create bool) (*os.File, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	file, err := openBeneath(dir, below, unix.O_PATH)
	if errors.Is(err, os.ErrNotExist) && create {
		return mkdirBeneath(dir, below)
	}
	return file, err
}

// mount mounts an open file or directory, with all that is mounted below it. The
// mounts are made private twice: before they have a place, so that taking them
// away never takes away the host's own; and after, for a shared place makes
// them shared, and taking them away would take them from the container.
func (s *staging) mount(file *os.File) (string, error) {
	target, err := s.place(file)
	if err != nil {
		return "", err
	}
	tree, err := unix.OpenTree(int(file.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
	if err != nil {
		return "", fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	makePrivate := func() error {
		return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE})
	}
	if err := makePrivate(); err != nil {
		return "", fmt.Errorf("mount_setattr: %w (directories of the workspace can be mounted with Linux 5.12 and newer)", err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return "", fmt.Errorf("move_mount: %w", err)
	}
	if err := makePrivate(); err != nil {
		return "", fmt.Errorf("mount_setattr: %w", err)
	}
	return target, nil
}

// place makes an empty file or directory to mount at.
func (s *staging) place(file *os.File) (string, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return "", err
	}
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	target := filepath.Join(s.dir, strconv.Itoa(len(s.paths)))
	if info.IsDir() {
		err = os.Mkdir(target, 0o700)
	} else {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err == nil {
		s.paths = append(s.paths, target)
	}
	return target, err
}

// release unmounts what was mounted and removes the places, one by one: where
// an unmount failed, nothing of the workspace may be removed.
func (s *staging) release() error {
	var failed []error
	for _, path := range s.paths {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) { // not mounted
			failed = append(failed, fmt.Errorf("unmount %s: %w", path, err))
			continue
		}
		failed = append(failed, os.Remove(path))
	}
	if s.paths != nil {
		failed = append(failed, os.Remove(s.dir))
	}
	return errors.Join(failed...)
}

// rootOf finds the innermost root that a path is below, and the path from there.
func rootOf(step *Step, source string) (root, below string) {
	source = filepath.Clean(source)
	for _, dir := range append([]string{step.Workspace}, step.Roots...) {
		if dir == "" {
			continue
		}
		rel, err := filepath.Rel(filepath.Clean(dir), source)
		if err == nil && filepath.IsLocal(rel) && len(dir) > len(root) {
			root, below = dir, rel
		}
	}
	return root, below
}

// openBeneath opens a path that must not lead out of dir, by .. or by links
// (openat2(2)). A link to an absolute path counts as leading out.
func openBeneath(dir *os.File, path string, flags int) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(dir.Fd()), path, how)
	for try := 0; errors.Is(err, unix.EAGAIN) && try < 100; try++ { // a rename elsewhere came between, in a path with ..
		fd, err = unix.Openat2(int(dir.Fd()), path, how)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir.Name(), path), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), path)), nil
}

// mkdirBeneath makes a directory and its parents without leaving dir.
func mkdirBeneath(dir *os.File, path string) (*os.File, error) {
	done := ""
	parent, err := openBeneath(dir, ".", unix.O_PATH)
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(path, "/") {
		err := unix.Mkdirat(int(parent.Fd()), name, 0o755)
		parent.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, &os.PathError{Op: "mkdir", Path: filepath.Join(dir.Name(), done, name), Err: err}
		}
		done = filepath.Join(done, name)
		if parent, err = openBeneath(dir, done, unix.O_PATH|unix.O_DIRECTORY); err != nil {
			return nil, err
		}
	}
	return parent, nil
}

package unpack

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A stack shows the layers of an image as overlayfs will merge them, without mounting them.
type stack struct {
	layers []*stackLayer // lowest first
}

type stackLayer struct {
	diffID   digest.Digest
	path     string // path of its lower directory or image
	fd       int    // descriptor of its root; -1 until root is called
	notes    notes
	implicit map[string]bool
	links    map[string]string
}

// A place is a path in one layer of a stack.
type place struct {
	layer int
	path  string
}

// openStack opens the layers that will be mounted. A layer that occurs twice counts only at its
// last position: everything in it is visible from there, and overlayfs refuses a directory given
// twice. Layers below one with an opaque root are left out. Release it with close.
func (s *Store) openStack(diffIDs []digest.Digest) (*stack, error) {
	st := &stack{}
	seen := map[digest.Digest]bool{}
	for _, diffID := range slices.Backward(diffIDs) {
		if seen[diffID] {
			continue
		}
		seen[diffID] = true
		l, err := s.openLayer(diffID)
		if err != nil {
			st.close()
			return nil, err
		}
		st.layers = append(st.layers, l)
		if l.notes.OpaqueRoot {
			break
		}
	}
	slices.Reverse(st.layers)
	return st, nil
}

func (s *Store) openLayer(diffID digest.Digest) (*stackLayer, error) {
	dir := s.layerDir(diffID)
	n, err := readNotes(dir)
	if err != nil {
		return nil, err
	}
	l := &stackLayer{
		diffID: diffID, path: lowerdir(dir), fd: -1, notes: n,
		implicit: map[string]bool{}, links: map[string]string{},
	}
	for _, path := range n.ImplicitDirs {
		l.implicit[string(path)] = true
	}
	for _, link := range n.Links {
		l.links[string(link.Name)] = string(link.Target)
	}
	return l, nil
}

// root returns a descriptor of the layer's root directory, which the layer owns. An image is
// mounted for it, detached, so that nobody else sees it.
func (l *stackLayer) root() (int, error) {
	if l.fd >= 0 {
		return l.fd, nil
	}
	fd, err := openLower(l.path)
	if err != nil {
		return -1, fmt.Errorf("open layer: %w", err)
	}
	l.fd = fd
	return fd, nil
}

func (st *stack) close() {
	for _, l := range st.layers {
		if l.fd >= 0 {
			_ = unix.Close(l.fd) // opened for reading only
		}
	}
}

func (st *stack) paths() []string {
	var paths []string
	for _, l := range st.layers {
		paths = append(paths, l.path)
	}
	return paths
}

// A sight describes what one layer has at a path.
type sight struct {
	found  bool // the layer has a file there, or notes a hard link to a lower one
	isDir  bool
	opaque bool // a directory that hides the content of lower ones
	last   bool // lower layers do not show through at this path
}

// look walks to path inside one layer, component by component.
func (l *stackLayer) look(path string) (sight, error) {
	root, err := l.root()
	if err != nil {
		return sight{}, err
	}
	dir, err := unix.Openat(root, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return sight{}, failed("open directory", err)
	}
	defer func() { _ = unix.Close(dir) }()
	last := false
	for rest, done := path, ""; rest != ""; {
		var name string
		name, rest = first(rest)
		done = join(done, name)
		if _, ok := l.links[done]; ok {
			return sight{found: rest == "", last: true}, nil
		}
		opaque, err := isOpaque(dir)
		if err != nil {
			return sight{}, err
		}
		last = last || opaque
		next, s, err := step(dir, name)
		if err != nil {
			return sight{}, err
		}
		if !s.isDir {
			s.found = s.found && rest == ""
			s.last = s.last || last
			return s, nil
		}
		_ = unix.Close(dir) // opened for reading only
		dir = next
	}
	opaque, err := isOpaque(dir)
	return sight{found: true, isDir: true, opaque: opaque, last: last}, err
}

// step looks at one name and opens it if it is a directory.
func step(dir int, name string) (next int, s sight, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return -1, sight{}, nil
	}
	if err != nil {
		return -1, sight{}, failed("stat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		whiteout := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
		return -1, sight{found: !whiteout, last: true}, nil
	}
	next, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return next, sight{found: true, isDir: true}, failed("open directory", err)
}

func isOpaque(dir int) (bool, error) {
	var value [1]byte
	n, err := unix.Fgetxattr(dir, opaqueXattr(), value[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return false, nil
	case err != nil:
		return false, failed("read xattr", err)
	}
	return n == 1 && value[0] == 'y', nil
}

// first splits off the first component of a clean path.
func first(path string) (name, rest string) {
	for i := range len(path) {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return path, ""
}

// find returns the file that is visible at path in the layers below the given index, and its place.
func (st *stack) find(path string, below int) (place, sight, error) {
	for i := below - 1; i >= 0; i-- {
		s, err := st.layers[i].look(path)
		if err != nil || s.found || s.last {
			return place{i, path}, s, err
		}
	}
	return place{}, sight{}, nil
}

// linkSource follows a noted hard link of layer i down to the file itself.
func (st *stack) linkSource(i int, name string) (place, error) {
	at := place{i, name}
	for {
		target, ok := st.layers[at.layer].links[at.path]
		if !ok {
			return at, nil
		}
		below, s, err := st.find(target, at.layer)
		switch {
		case err != nil:
			return at, err
		case !s.found:
			return at, fmt.Errorf("%q: %w", target, errLinkTarget)
		case s.isDir:
			return at, fmt.Errorf("%q: %w", target, unix.EISDIR)
		}
		at = below
	}
}

// directory returns the topmost layer of the merged directory, whose metadata overlayfs shows, and
// the topmost layer that declares the directory, whose metadata it should have. When no layer
// declares it, both are the same.
func (st *stack) directory(path string) (top, source int, err error) {
	top = -1
	for i := len(st.layers) - 1; i >= 0; i-- {
		l := st.layers[i]
		s, err := l.look(path)
		if err != nil {
			return 0, 0, err
		}
		if s.found && !s.isDir {
			break // hides the directory, or lies below one that hides it
		}
		if s.found && top < 0 {
			top = i
		}
		if s.found && !l.implicit[path] {
			return top, i, nil
		}
		if s.last {
			break
		}
	}
	return top, top, nil
}

// unmerged reports whether the directory is visible and comes from layer i alone. Overlayfs lists
// the whiteouts of such a directory, but not those of a merged one.
func (st *stack) unmerged(path string, i int) (bool, error) {
	var parts []int
	for k := len(st.layers) - 1; k >= 0; k-- {
		s, err := st.layers[k].look(path)
		if err != nil {
			return false, err
		}
		if s.found && s.isDir {
			parts = append(parts, k)
		}
		if s.last || s.opaque || s.found && !s.isDir {
			break
		}
	}
	return len(parts) == 1 && parts[0] == i, nil
}

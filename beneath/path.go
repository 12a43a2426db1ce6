package beneath

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLeadsOut says that a path leads out of the directory that it must stay in,
// by a link or by "..". A link to an absolute path counts as leading out. The
// directory follows in the message.
var ErrLeadsOut = errors.New("refused: a link leads out of")

// ErrIrregular says that a path names something other than a regular file.
var ErrIrregular = errors.New("not a regular file")

// Path is a path of the host together with the directories, its roots, that it
// must not leave. The zero value is not usable; see At.
type Path struct {
	path  string
	roots []string // that contain the path, the outermost first; nil: nobody but the caller writes to what is on the way
}

// At returns the path with those of the roots that contain it. The outermost
// root is opened by its name, links included, so nobody else may be able to
// replace it. Each root inside another one is opened beneath that.
func At(path string, roots ...string) Path {
	p := Path{path: filepath.Clean(path)}
	for _, root := range roots {
		if root == "" {
			continue
		}
		root = filepath.Clean(root)
		if rel, err := filepath.Rel(root, p.path); err == nil && filepath.IsLocal(rel) {
			p.roots = append(p.roots, root)
		}
	}
	slices.SortFunc(p.roots, func(a, b string) int { return len(a) - len(b) })
	p.roots = slices.Compact(p.roots)
	return p
}

// String returns the path as a name for messages.
func (p Path) String() string { return p.path }

// Root returns the innermost root, "" when the path is in none.
func (p Path) Root() string {
	if len(p.roots) == 0 {
		return ""
	}
	return p.roots[len(p.roots)-1]
}

// IsRoot reports whether the path is one of its roots and beneath no other.
func (p Path) IsRoot() bool { return len(p.roots) == 1 && p.roots[0] == p.path }

// OpenFile opens the path as os.OpenFile does, except that opening a FIFO or a
// device does not wait. The error wraps ErrLeadsOut when a link leads out of a
// root. In no root, links are followed.
func (p Path) OpenFile(flags int, perm os.FileMode) (*os.File, error) {
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NONBLOCK
	}
	if p.roots == nil {
		return os.OpenFile(p.path, flags, perm)
	}
	dir, rel, err := p.openRoot()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return openAt(dir, rel, flags, perm)
}

// OpenRegular opens a regular file to be read. Nothing else is so much as opened, for opening a
// device does things, such as starting a watchdog. The error wraps ErrIrregular or ErrLeadsOut when
// it is one of these.
func (p Path) OpenRegular() (*os.File, error) {
	place, err := p.OpenFile(unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	info, err := place.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: p.path, Err: ErrIrregular}
	}
	return Reopen(place, os.O_RDONLY)
}

// ReadFile reads a regular file of at most limit bytes. It opens the file as OpenRegular does.
func (p Path) ReadFile(limit int64) ([]byte, error) {
	file, err := p.OpenRegular()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = &os.PathError{Op: "read", Path: p.path, Err: fmt.Errorf("larger than %d bytes", limit)}
	}
	return data, err
}

// WriteFile writes a file anew, made when missing, as os.WriteFile does.
func (p Path) WriteFile(data []byte, perm os.FileMode) error {
	file, err := p.OpenFile(os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// Open opens the path as a place (O_PATH): to look at, or to mount. With
// unix.O_DIRECTORY it must be a directory.
func (p Path) Open(flags int) (*os.File, error) { return p.OpenFile(unix.O_PATH|flags, 0) }

// MakeDir opens a directory as a place, made when missing with its parents. The
// outermost root is made too.
func (p Path) MakeDir(perm os.FileMode) (*os.File, error) {
	if p.roots == nil {
		if err := os.MkdirAll(p.path, perm); err != nil {
			return nil, err
		}
		return p.Open(unix.O_DIRECTORY)
	}
	if err := os.MkdirAll(p.roots[0], perm); err != nil {
		return nil, err
	}
	dir, err := openRoot(p.roots[0])
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	done := "."
	parent, err := openAt(dir, done, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(p.roots[0], p.path)
	if err != nil {
		return nil, errors.Join(err, parent.Close())
	}
	if rel == "." {
		return parent, nil
	}
	for name := range strings.SplitSeq(rel, "/") {
		err := unix.Mkdirat(int(parent.Fd()), name, uint32(perm.Perm()))
		parent.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, &os.PathError{Op: "mkdir", Path: filepath.Join(p.roots[0], done, name), Err: err}
		}
		done = filepath.Join(done, name)
		if parent, err = openAt(dir, done, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			return nil, err
		}
	}
	parent.Close()
	return p.Open(unix.O_DIRECTORY) // beneath the inner roots too
}

// openRoot opens the innermost root, and returns the path from there.
func (p Path) openRoot() (dir *os.File, rel string, err error) {
	dir, err = openRoot(p.roots[0])
	if err != nil {
		return nil, "", err
	}
	at := p.roots[0]
	for _, root := range p.roots[1:] {
		rel, _ := filepath.Rel(at, root) // it contains it; see At
		inner, err := openAt(dir, rel, unix.O_PATH|unix.O_DIRECTORY, 0)
		dir.Close()
		if err != nil {
			return nil, "", err
		}
		dir, at = inner, root
	}
	rel, err = filepath.Rel(at, p.path)
	return dir, rel, err
}

func openRoot(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// openAt opens a path that must not lead out of dir.
func openAt(dir *os.File, path string, flags int, perm os.FileMode) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&os.O_CREATE != 0 {
		how.Mode = uint64(perm.Perm())
	}
	fd, err := unix.Openat2(int(dir.Fd()), path, how)
	// EAGAIN: a rename elsewhere came between, in a path with "..".
	for try := 0; errors.Is(err, unix.EAGAIN) && try < 100 || errors.Is(err, unix.EINTR); try++ {
		fd, err = unix.Openat2(int(dir.Fd()), path, how)
	}
	name := filepath.Join(dir.Name(), path)
	if errors.Is(err, unix.EXDEV) {
		err = fmt.Errorf("%w %s", ErrLeadsOut, dir.Name())
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// OpenIn opens a path that must not lead out of a directory that is open: by a link or by "..".
// The error then wraps ErrLeadsOut.
func OpenIn(dir *os.File, path string, flags int) (*os.File, error) {
	return openAt(dir, path, flags, 0)
}

// Reopen opens anew what a descriptor has open, whatever has its name by now. It
// makes of a place a file that can be read.
func Reopen(place *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", place.Fd()), flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: place.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), place.Name()), nil
}

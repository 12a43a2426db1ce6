package beneath

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxOpen bounds the directories that a walk has open at once. A step can nest
// more directories than a process can have descriptors.
const maxOpen = 64

// Visitor is told what a Walk finds. A nil function is not called. An error ends
// the walk, which returns it.
type Visitor struct {
	// Entry is called for every name, and reports whether it is a directory to enter.
	Entry func(dir *os.File, name string) (enter bool, err error)
	// Enter is called with an opened directory before what is in it.
	Enter func(dir *os.File) error
	// Leave is called for a directory after what is in it, and for one that could not be entered.
	Leave func(parent *os.File, name string) error
}

// Walk visits a directory and all that is in it. It never follows a link, never
// enters a mount, and takes any depth: directories far above are closed, and
// opened anew as the parent of the one that is left. A directory that somebody
// moves meanwhile ends the walk with an error. Walk does not close root.
func Walk(root *os.File, v Visitor) error {
	w := walk{visitor: v}
	defer w.close()
	top, err := openDirectory(root, ".")
	if err != nil {
		return err
	}
	if err := w.enter(top, ""); err != nil {
		return err
	}
	for len(w.levels) > 0 {
		level := &w.levels[len(w.levels)-1]
		if len(level.todo) == 0 {
			if err := w.leave(); err != nil {
				return err
			}
			continue
		}
		name := level.todo[len(level.todo)-1]
		level.todo = level.todo[:len(level.todo)-1]
		if err := w.descend(level.dir, name); err != nil {
			return err
		}
	}
	return nil
}

type walk struct {
	visitor Visitor
	levels  []level // from the root to where the walk is
}

// level is a directory on the way to where the walk is.
type level struct {
	dir  *os.File // nil: closed for now
	name string   // in its parent
	id   inode
	todo []string // directories in it that are still to be entered
}

type inode struct{ device, number uint64 }

func inodeOf(file *os.File) (inode, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return inode{}, &os.PathError{Op: "stat", Path: file.Name(), Err: err}
	}
	return inode{st.Dev, st.Ino}, nil
}

// enter begins with a directory, which the walk closes.
func (w *walk) enter(dir *os.File, name string) error {
	w.levels = append(w.levels, level{dir: dir, name: name})
	here := &w.levels[len(w.levels)-1]
	var err error
	if here.id, err = inodeOf(dir); err != nil {
		return err
	}
	if far := len(w.levels) - 1 - maxOpen; far >= 0 && w.levels[far].dir != nil {
		w.levels[far].dir.Close()
		w.levels[far].dir = nil
	}
	if w.visitor.Enter != nil {
		if err := w.visitor.Enter(dir); err != nil {
			return err
		}
	}
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			enter, err := w.visitor.Entry(dir, name)
			if err != nil {
				return err
			}
			if enter {
				here.todo = append(here.todo, name)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ENOENT) { // the directory was removed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// descend enters a directory, unless it is a mount, or was replaced or removed.
func (w *walk) descend(parent *os.File, name string) error {
	dir, err := openDirectory(parent, name)
	switch {
	case err == nil:
		return w.enter(dir, name)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return w.left(parent, name)
	}
	return err
}

// leave closes the directory where the walk is, and goes on in its parent.
func (w *walk) leave() error {
	here := w.levels[len(w.levels)-1]
	if len(w.levels) > 1 {
		parent := &w.levels[len(w.levels)-2]
		if parent.dir == nil {
			if err := parent.reopen(here.dir); err != nil {
				return err
			}
		}
	}
	w.levels = w.levels[:len(w.levels)-1]
	here.dir.Close()
	if len(w.levels) == 0 {
		return nil
	}
	return w.left(w.levels[len(w.levels)-1].dir, here.name)
}

func (w *walk) left(parent *os.File, name string) error {
	if w.visitor.Leave == nil {
		return nil
	}
	return w.visitor.Leave(parent, name)
}

// reopen opens a directory as the parent of one in it. The parent of one that
// was moved is another one, which may be any directory of the host.
func (l *level) reopen(child *os.File) error {
	fd, err := unix.Openat(int(child.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Join(child.Name(), ".."), Err: err}
	}
	dir := os.NewFile(uintptr(fd), filepath.Dir(child.Name()))
	id, err := inodeOf(dir)
	if err == nil && id != l.id {
		err = &os.PathError{Op: "walk", Path: child.Name(), Err: errMoved}
	}
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	l.dir = dir
	return nil
}

var errMoved = errors.New("the directory was moved meanwhile")

func (w *walk) close() {
	for _, level := range w.levels {
		if level.dir != nil {
			level.dir.Close()
		}
	}
}

// openDirectory opens a directory in another one: no link, and no mount.
func openDirectory(parent *os.File, name string) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := unix.Openat2(int(parent.Fd()), name, how)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat2(int(parent.Fd()), name, how)
	}
	path := filepath.Join(parent.Name(), name)
	if len(path) > unix.PathMax { // of use in messages only
		path = parent.Name()
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

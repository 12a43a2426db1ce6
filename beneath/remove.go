package beneath

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RemoveAll removes a file, or a directory with all that is in it, as
// os.RemoveAll does. It takes any depth with few descriptors, and never deletes
// in a mount: one at path or below it is an error. It removes what it can, and
// returns the first error. A missing path is no error.
//
// A path without a last name of its own ("", ".", "..", "/") is refused: an empty
// one that comes from a mistake elsewhere would be the working directory, which is
// the user's.
func RemoveAll(path string) error {
	switch filepath.Base(path) {
	case ".", "..", string(filepath.Separator):
		return &os.PathError{Op: "remove", Path: path, Err: unix.EINVAL}
	}
	parent, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(path)
	r := removal{}
	isDir, err := r.entry(parent, name)
	if !isDir {
		return errors.Join(err, r.failed)
	}
	dir, err := openDirectory(parent, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		r = removal{}
		walked := Walk(dir, Visitor{Entry: r.entry, Leave: r.leave})
		err := unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return nil
		case r.removed > 0 && (errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)):
			continue // a file system may pass over names while others are removed
		case r.failed != nil:
			return r.failed
		case walked != nil:
			return walked
		}
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
}

type removal struct {
	removed int   // names
	failed  error // the first error
}

// entry removes a name that is not a directory. Linux says EISDIR of one that is.
func (r *removal) entry(dir *os.File, name string) (enter bool, err error) {
	err = unix.Unlinkat(int(dir.Fd()), name, 0)
	if errors.Is(err, unix.EISDIR) {
		return true, nil
	}
	r.note(dir, name, err)
	return false, nil
}

func (r *removal) leave(parent *os.File, name string) error {
	r.note(parent, name, unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR))
	return nil
}

func (r *removal) note(dir *os.File, name string, err error) {
	switch {
	case err == nil:
		r.removed++
	case errors.Is(err, unix.ENOENT):
	case r.failed == nil:
		r.failed = &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
	}
}

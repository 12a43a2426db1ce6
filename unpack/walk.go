package unpack

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A visited is a file that walk has reached.
type visited struct {
	parent int // descriptor of its directory, open during the visit
	name   string
	path   string // relative to the directory where the walk began
	stat   unix.Stat_t
}

// walk visits everything below a directory, each directory before its content. It goes from
// descriptor to descriptor: paths of an image may be longer than the kernel accepts at once.
func walk(root string, visit func(visited) error) error {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: root, Err: err}
	}
	return walkDir(fd, "", visit)
}

// walkDir walks the directory and closes its descriptor.
func walkDir(fd int, path string, visit func(visited) error) (err error) {
	dir := os.NewFile(uintptr(fd), path)
	defer func() { err = errors.Join(err, dir.Close()) }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		v := visited{parent: fd, name: name, path: join(path, name)}
		if err := unix.Fstatat(fd, name, &v.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "stat", Path: v.path, Err: err}
		}
		if err := visit(v); err != nil {
			return err
		}
		if v.stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		below, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: v.path, Err: err}
		}
		if err := walkDir(below, v.path, visit); err != nil {
			return err
		}
	}
	return nil
}

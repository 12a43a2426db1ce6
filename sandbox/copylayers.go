package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// refusesOverlay recognises the errors of kernels without overlayfs, or without overlayfs for this
// user or above this file system.
func refusesOverlay(err error) bool {
	for _, refusal := range []error{unix.ENODEV, unix.EINVAL, unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// copyLayers fills the empty directory to with the files that an overlay of the lowerdirs (lowest
// first) would show.
func copyLayers(ctx context.Context, lowerdirs []string, to string) error {
	for _, layer := range lowerdirs {
		c := copier{ctx: ctx, links: map[inode]string{}}
		if err := c.directory(layer, to); err != nil {
			return fmt.Errorf("copy layer %s: %w", layer, err)
		}
	}
	return nil
}

// copier copies one layer over the copies of those below it. Nobody else changes the copy, so it
// cannot change between a check and its use.
type copier struct {
	ctx   context.Context
	links map[inode]string // first copy of files with several names
}

func (c *copier) directory(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := context.Cause(c.ctx); err != nil {
			return err
		}
		if err := c.entry(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return copyMetadata(from, to)
}

// entry copies a file or directory. It hides whatever lower layers have under its name; only
// directories merge.
func (c *copier) entry(from, to string) error {
	var st, below unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: from, Err: err}
	}
	kind := st.Mode & unix.S_IFMT
	err := unix.Lstat(to, &below)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "lstat", Path: to, Err: err}
	}
	merges := err == nil && kind == unix.S_IFDIR && below.Mode&unix.S_IFMT == unix.S_IFDIR && !isOpaque(from)
	if err == nil && !merges {
		if err := beneath.RemoveAll(to); err != nil {
			return err
		}
	}
	switch {
	case kind == unix.S_IFCHR && st.Rdev == 0: // overlayfs's whiteout
		return nil
	case kind == unix.S_IFDIR:
		if !merges {
			if err := os.Mkdir(to, 0o700); err != nil {
				return err
			}
		}
		return c.directory(from, to)
	case st.Nlink > 1:
		key := inode{st.Dev, st.Ino}
		if first, ok := c.links[key]; ok {
			return os.Link(first, to)
		}
		c.links[key] = to
	}
	if err := copyFile(from, to, &st); err != nil {
		return err
	}
	return copyMetadata(from, to)
}

// isOpaque reports whether a directory of a layer hides everything that lower layers have in it.
func isOpaque(dir string) bool {
	var value [2]byte
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Lgetxattr(dir, name, value[:]); err == nil && string(value[:n]) == "y" {
			return true
		}
	}
	return false
}

func copyFile(from, to string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return copyContent(from, to)
	case unix.S_IFLNK:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	if err := unix.Mknod(to, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
		return &os.PathError{Op: "mknod", Path: to, Err: err}
	}
	return nil
}

// copyContent lets the file system share the blocks where it can, as copy_file_range(2) does.
func copyContent(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = out.ReadFrom(in)
	return err
}

// copyMetadata gives a copy the owner, attributes, mode and time of its original, in an order in
// which no change undoes another.
func copyMetadata(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: from, Err: err}
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyAttributes(from, to); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}

// copyAttributes copies extended attributes except overlayfs's own. Those of a merged directory
// replace those of the lower one.
func copyAttributes(from, to string) error {
	list, err := attribute(func(buf []byte) (int, error) { return unix.Llistxattr(from, buf) })
	if errors.Is(err, unix.EOPNOTSUPP) || len(list) == 0 && err == nil {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "listxattr", Path: from, Err: err}
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		value, err := attribute(func(buf []byte) (int, error) { return unix.Lgetxattr(from, name, buf) })
		if err == nil {
			err = unix.Lsetxattr(to, name, value, 0)
		}
		if err != nil {
			return fmt.Errorf("copy attribute %s of %s: %w", name, from, err)
		}
	}
	return nil
}

// attribute asks for the size first, which cannot change, because nobody changes a layer.
func attribute(get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	n, err = get(buf)
	return buf[:max(n, 0)], err
}

package unpack

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A sourceFile is a file of a layer that is copied into a fix-up layer.
type sourceFile struct {
	parent int
	base   string
	stat   unix.Stat_t
}

// An inode identifies a file: two names with the same inode are one file.
type inode struct{ dev, ino uint64 }

// openSource opens the directory of the file. Release it with close.
func (st *stack) openSource(at place) (sourceFile, error) {
	dir, base := split(at.path)
	root, err := st.layers[at.layer].root()
	if err != nil {
		return sourceFile{}, err
	}
	parent, err := openBeneath(root, dir, unix.O_PATH)
	if err != nil {
		return sourceFile{}, failed("open directory", err)
	}
	f := sourceFile{parent: parent, base: base}
	if err := unix.Fstatat(parent, base, &f.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		f.close()
		return f, failed("stat", err)
	}
	return f, nil
}

func (f sourceFile) close() { _ = unix.Close(f.parent) } // O_PATH: nothing to flush

func (f sourceFile) inode() inode { return inode{f.stat.Dev, f.stat.Ino} }

// copyUp copies the file, content and metadata, to path.
func (t *tree) copyUp(path string, f sourceFile) error {
	switch kind := f.stat.Mode & unix.S_IFMT; kind {
	case unix.S_IFREG:
		return t.copyRegular(path, f)
	case unix.S_IFLNK:
		target := make([]byte, pathMax)
		n, err := unix.Readlinkat(f.parent, f.base, target)
		if err != nil {
			return failed("read link", err)
		}
		return t.addSymlink(path, statMetadata(f.stat), string(target[:n]))
	default:
		err := t.replace(path, func() error { return t.sink.node(path, statMetadata(f.stat), kind, f.stat.Rdev) })
		return failed("create device", err)
	}
}

func (t *tree) copyRegular(path string, f sourceFile) error {
	fd, err := unix.Openat(f.parent, f.base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed("open", err)
	}
	from := os.NewFile(uintptr(fd), path)
	defer from.Close()
	m, err := fileMetadata(fd)
	if err != nil {
		return err
	}
	holes := f.stat.Blocks*512 < f.stat.Size
	return t.addFile(path, m, from, f.stat.Size, holes)
}

func statMetadata(st unix.Stat_t) metadata {
	return metadata{mode: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid), mtime: st.Mtim}
}

// fileMetadata reads the metadata of an open file. It skips overlay xattrs, which describe the
// layer that the file is in.
func fileMetadata(fd int) (metadata, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return metadata{}, failed("stat", err)
	}
	m := statMetadata(st)
	list := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(fd, list)
	if errors.Is(err, unix.ENOTSUP) {
		return m, nil
	}
	if err != nil {
		return m, failed("list xattrs", err)
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if name == "" || !keepXattr(name) {
			continue
		}
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			return m, failed("read xattr", err)
		}
		if m.xattrs == nil {
			m.xattrs = map[string]string{}
		}
		m.xattrs[name] = string(value[:n])
	}
	return m, nil
}

package unpack

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A sourceFile is a file of a layer that is copied into a fix-up layer.
type sourceFile struct {
	parent int
	base   string
	stat   unix.Stat_t
}

// An inode tells whether two names are one file.
type inode struct{ dev, ino uint64 }

// openSource opens the directory of the file. Release it with close.
func (st *stack) openSource(at place) (sourceFile, error) {
	dir, base := split(at.path)
	parent, err := openBeneath(st.layers[at.layer].root, dir, unix.O_PATH)
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

// copyUp makes a copy of the file, content and metadata, at path.
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
		err := t.replace(path, func(parent int, base string) error {
			return unix.Mknodat(parent, base, kind|0o600, int(f.stat.Rdev))
		})
		if err != nil {
			return failed("create device", err)
		}
		return t.applyAt(path, statMetadata(f.stat), true)
	}
}

func (t *tree) copyRegular(path string, f sourceFile) (err error) {
	from, err := unix.Openat(f.parent, f.base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed("open", err)
	}
	defer unix.Close(from)
	m, err := fileMetadata(from)
	if err != nil {
		return err
	}
	if err := t.budget.checkSpace(f.stat.Blocks * 512); err != nil {
		return err
	}
	to, err := t.create(path, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, failed("close", unix.Close(to))) }()
	if err := t.copyData(to, from, f.stat.Size); err != nil {
		return failed("copy", err)
	}
	if err := t.applyFd(to, path, m); err != nil {
		return err
	}
	return m.setTimesOf(to)
}

// copyData copies the parts that are not holes.
func (t *tree) copyData(to, from int, size int64) error {
	buf := t.buffer()
	for offset := int64(0); offset < size; {
		start, err := unix.Seek(from, offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(from, start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for offset = start; offset < end; {
			n, err := unix.Pread(from, buf[:min(int64(len(buf)), end-offset)], offset)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && n == 0 {
				err = fmt.Errorf("the file shrank: %w", unix.EIO)
			}
			if err == nil {
				err = pwrite(to, buf[:n], offset)
			}
			if err != nil {
				return err
			}
			offset += int64(n)
		}
	}
	return unix.Ftruncate(to, size)
}

func statMetadata(st unix.Stat_t) metadata {
	return metadata{mode: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid), mtime: st.Mtim}
}

// fileMetadata reads the metadata of an open file. Overlay xattrs stay behind: they describe the layer that
// the file is in.
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

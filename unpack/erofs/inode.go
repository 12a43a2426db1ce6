package erofs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrTooLarge says that the image would go beyond what its format can address: 2³²-1 blocks of 4 KiB, just below
// 16 TiB, holes included.
var ErrTooLarge = errors.New("image is too large: erofs ends at 16 TiB")

// An Inode is a file of the image. The same *Inode under two names is a hard link; a directory has one name only.
type Inode struct {
	Mode     uint32 // S_IFMT and 07777
	UID, GID uint32 // all but 2³²-1, which is nobody

	links uint32 // names; of a directory also those that its subdirectories have for it. 0: not met yet

	// Mtime is the time of modification, which the kernel shows as the times of access and change as well. The format
	// has room for any second, before 1970 too. Nanoseconds are clamped to 0..999,999,999.
	Mtime unix.Timespec
	// Xattrs are extended attributes by their full names; see CheckXattr.
	Xattrs  map[string]string
	Rdev    uint64            // of a device, as mknod(2) takes it; a major of 12 bits, a minor of 20
	Target  string            // of a symbolic link, 1 to 4095 bytes
	Content Extent            // of a regular file
	Entries map[string]*Inode // of a directory; "." and ".." are the writer's

	nid   uint32 // where the inode is: slots of 32 bytes from the first block of metadata
	block uint32 // where a directory or target is that does not fit beside its inode, else 0
}

// An Extent is where the content of a regular file is in the image that it was appended to. The zero value is an
// empty file.
type Extent struct {
	block uint32 // the first
	size  int64  // bytes
}

// Size returns the length of the content in bytes, holes included.
func (e Extent) Size() int64 { return e.size }

// end is the first block behind the extent.
func (e Extent) end() int64 { return int64(e.block) + blocks(e.size) }

func (n *Inode) kind() uint32 { return n.Mode & unix.S_IFMT }
func (n *Inode) isDir() bool  { return n.kind() == unix.S_IFDIR }

// check says what keeps the inode from being in an image whose content ends before the block end.
func (n *Inode) check(end int64) error {
	const nobody = 1<<32 - 1
	switch {
	case n.Mode&^(unix.S_IFMT|0o7777) != 0:
		return fmt.Errorf("mode %#o has bits that no file has", n.Mode)
	case n.UID == nobody || n.GID == nobody:
		return fmt.Errorf("owner %d:%d is out of range", n.UID, n.GID)
	case len(n.Entries) > 0 && !n.isDir():
		return errors.New("entries in what is not a directory")
	case n.Content != Extent{} && n.kind() != unix.S_IFREG:
		return errors.New("content in what is not a regular file")
	case n.Target != "" && n.kind() != unix.S_IFLNK:
		return errors.New("a target of what is not a symbolic link")
	}
	if err := n.checkKind(end); err != nil {
		return err
	}
	return checkXattrs(n.Xattrs)
}

func (n *Inode) checkKind(end int64) error {
	switch n.kind() {
	case unix.S_IFREG:
		if n.Content.end() > end {
			return errors.New("the content is not in this image")
		}
	case unix.S_IFLNK:
		// readlink(2) and path lookup end at a NUL, and at PATH_MAX with it.
		if len(n.Target) == 0 || len(n.Target) >= unix.PathMax || strings.Contains(n.Target, "\x00") {
			return fmt.Errorf("symbolic link to %.300q: a target has 1 to %d bytes and no NUL", n.Target, unix.PathMax-1)
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		if major, minor := unix.Major(n.Rdev), unix.Minor(n.Rdev); major >= 1<<12 || minor >= 1<<20 || unix.Mkdev(major, minor) != n.Rdev {
			return fmt.Errorf("device %d:%d is out of range", major, minor)
		}
	case unix.S_IFDIR, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return fmt.Errorf("mode %#o is of no type of file", n.Mode)
	}
	return nil
}

// checkName refuses what would be another file for whoever reads the image than for whoever wrote it: a name like
// "../../etc/passwd" reaches programs that walk the mount as a path.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > unix.NAME_MAX || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("a name has 1 to %d bytes, no slash and no NUL, and is neither . nor .. itself", unix.NAME_MAX)
	}
	return nil
}

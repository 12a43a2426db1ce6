package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// metadata is everything about a file except its content.
type metadata struct {
	mode     uint32 // 07777
	uid, gid int
	mtime    unix.Timespec
	xattrs   map[string]string
}

// implicitMetadata is the metadata of a directory that no layer declares. Its time is fixed so that
// a layer unpacks the same way everywhere.
var implicitMetadata = metadata{mode: 0o755}

const (
	xattrRecord = "SCHILY.xattr." // PAX key of an xattr, as GNU tar, star and all image builders write it
	capability  = "security.capability"
)

func (t *tree) metadata(hdr *tar.Header) (metadata, error) {
	// noID (-1) tells chown to keep the owner, which is root for a file that was just made.
	const noID = 1<<32 - 1
	if hdr.Uid < 0 || int64(hdr.Uid) >= noID || hdr.Gid < 0 || int64(hdr.Gid) >= noID {
		return metadata{}, fmt.Errorf("owner %d:%d is out of range", hdr.Uid, hdr.Gid)
	}
	mtime, err := unix.TimeToTimespec(hdr.ModTime)
	if err != nil { // only where the kernel's seconds have 32 bits
		return metadata{}, fmt.Errorf("time %v is out of range: %w", hdr.ModTime, err)
	}
	m := metadata{mode: uint32(hdr.Mode & 0o7777), uid: hdr.Uid, gid: hdr.Gid, mtime: mtime}
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		if !keepXattr(name) {
			t.warn("%.300q: xattr %.300q is not kept", hdr.Name, name)
			continue
		}
		if m.xattrs == nil {
			m.xattrs = map[string]string{}
		}
		m.xattrs[name] = value
	}
	return m, nil
}

// keepMetadata copies the metadata that stays in memory until the layer's end.
func (t *tree) keepMetadata(m metadata) (metadata, error) {
	kept := make(map[string]string, len(m.xattrs))
	for name, value := range m.xattrs {
		name, err := t.budget.keep(name)
		if err != nil {
			return m, err
		}
		if kept[name], err = t.budget.keep(value); err != nil {
			return m, err
		}
	}
	m.xattrs = kept
	return m, nil
}

// keepXattr decides by name. overlay.* attributes would let a layer redirect overlayfs to files
// that it must not show; other trusted.* attributes concern the host's root; security.* attributes
// other than file capabilities (SELinux, IMA, EVM) carry the policy of the machine that built the
// image.
func keepXattr(name string) bool {
	switch {
	case strings.HasPrefix(name, "user.overlay."), strings.HasPrefix(name, "trusted."):
		return false
	case strings.HasPrefix(name, "security."):
		return name == capability
	default:
		return true
	}
}

// chownError explains EINVAL from chown: the user namespace does not map that id.
func chownError(m metadata, err error) error {
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("this user namespace has no uid %d or no gid %d (give the user more subordinate ids in /etc/subuid and /etc/subgid)", m.uid, m.gid)
	}
	return failed("chown", err)
}

// applyFd gives an open file or directory its metadata except the times. The order matters: chown
// clears setuid bits and capabilities.
func (d *directories) applyFd(fd int, path string, m metadata) error {
	if m.uid != d.uid || m.gid != d.gid {
		if err := unix.Fchown(fd, m.uid, m.gid); err != nil {
			return chownError(m, err)
		}
	}
	if err := unix.Fchmod(fd, m.mode); err != nil {
		return failed("chmod", err)
	}
	return d.setXattrs(path, m.xattrs, func(name string, value []byte) error {
		return unix.Fsetxattr(fd, name, value, 0)
	})
}

// applyFile gives a regular file without xattrs the metadata that it does not have yet, and sets
// the times.
func (d *directories) applyFile(f *output) error {
	if f.meta.uid != d.uid || f.meta.gid != d.gid {
		if err := unix.Fchown(f.fd, f.meta.uid, f.meta.gid); err != nil {
			return chownError(f.meta, err)
		}
	}
	if f.mode != f.meta.mode {
		if err := unix.Fchmod(f.fd, f.meta.mode); err != nil {
			return failed("chmod", err)
		}
	}
	return f.meta.setTimesOf(f.fd)
}

// applyAt gives metadata and times to a file that cannot be opened. Only this process can reach the
// tree, so the name still leads to the file that was just made.
func (d *directories) applyAt(path string, m metadata, chmod bool) error {
	parent, base, err := d.parent(path)
	if err != nil {
		return err
	}
	if m.uid != d.uid || m.gid != d.gid {
		if err := unix.Fchownat(parent, base, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return chownError(m, err)
		}
	}
	if chmod {
		if err := chmodNode(parent, base, m.mode); err != nil {
			return failed("chmod", err)
		}
	}
	err = d.setXattrs(path, m.xattrs, func(name string, value []byte) error {
		return unix.Lsetxattr(procPath(parent)+"/"+base, name, value, 0)
	})
	if err != nil {
		return err
	}
	return m.setTimes(parent, base)
}

// chmodNode changes the mode of a device or FIFO without opening it, since that could block or
// start the device. fchmodat cannot refuse symbolic links before Linux 6.6; going through the
// O_PATH descriptor's link in /proc can.
func chmodNode(parent int, base string, mode uint32) error {
	fd, err := unix.Openat(parent, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(procPath(fd), mode)
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (d *directories) setXattrs(path string, xattrs map[string]string, set func(name string, value []byte) error) error {
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		err := set(name, []byte(xattrs[name]))
		if err == nil {
			continue
		}
		// Without its capability a program would fail later, and nobody would trace that failure
		// back to here.
		if name == capability || !tolerated(err) {
			return failed("set xattr "+strconv.Quote(name), err)
		}
		d.warn("%.300q: xattr %.300q is not kept: %v", path, name, err)
	}
	return nil
}

// tolerated reports whether the error means that the file system does not store such an attribute:
// not at all, not on this type of file (user.* on a symbolic link), or not of this size (ENOSPC on
// ext4).
func tolerated(err error) bool {
	for _, no := range []error{unix.ENOTSUP, unix.EPERM, unix.E2BIG, unix.ERANGE, unix.ENOSPC} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// setTimes comes last, because every other change alters the times. The access time is set to the
// modification time: tars rarely have one, and the moment of unpacking means nothing.
func (m metadata) setTimes(parent int, base string) error {
	times := []unix.Timespec{m.mtime, m.mtime}
	return failed("set times", unix.UtimesNanoAt(parent, base, times, unix.AT_SYMLINK_NOFOLLOW))
}

// setTimesOf sets the times of an open file. (An empty path needs Linux 5.8.)
func (m metadata) setTimesOf(fd int) error {
	times := []unix.Timespec{m.mtime, m.mtime}
	return failed("set times", unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH))
}

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

// metadata is what a file has beside its content.
type metadata struct {
	mode     uint32 // 07777
	uid, gid int
	mtime    unix.Timespec
	xattrs   map[string]string
}

// implicitMetadata is that of a directory no layer declares. Its time is fixed so that a layer unpacks the
// same way everywhere.
var implicitMetadata = metadata{mode: 0o755}

const (
	xattrRecord = "SCHILY.xattr." // PAX key of an xattr, as GNU tar, star and all image builders write it
	capability  = "security.capability"
)

func (t *tree) metadata(hdr *tar.Header) (metadata, error) {
	// -1 tells chown to keep the owner: root's, in whose name the file was just made.
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

// keepMetadata copies what stays in memory until the layer's end.
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

// keepXattr decides by the name. overlay.* attributes would let a layer redirect overlayfs to files it must
// not show; other trusted.* ones speak to the host's root; security.* ones beside file capabilities (SELinux,
// IMA, EVM) carry the policy of the machine that built the image.
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

// chownError says what EINVAL means here: an id that this user namespace does not have.
func chownError(m metadata, err error) error {
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("this user namespace has no uid %d or no gid %d (give the user more subordinate ids in /etc/subuid and /etc/subgid)", m.uid, m.gid)
	}
	return failed("chown", err)
}

// applyFd gives an open file or directory its metadata except the times, in the order that keeps it: chown
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

// applyFile does the same for a regular file without xattrs, where it is not so already, and sets the times.
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

// applyAt does the same for what cannot be opened, and sets the times. Nobody but this process can reach the
// tree, so the name still is the file that was just made.
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

// chmodNode changes the mode of a device or FIFO without opening it, which could block or start the device.
// fchmodat cannot refuse symbolic links before Linux 6.6; a link in /proc to an O_PATH descriptor can.
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
		// A program without its capability fails in a way that nobody traces back to here.
		if name == capability || !tolerated(err) {
			return failed("set xattr "+strconv.Quote(name), err)
		}
		d.warn("%.300q: xattr %.300q is not kept: %v", path, name, err)
	}
	return nil
}

// tolerated says whether the file system just does not take such an attribute: not at all, not on this type
// of file (user.* on a symbolic link), or not so large (ENOSPC is ext4's word for that).
func tolerated(err error) bool {
	for _, no := range []error{unix.ENOTSUP, unix.EPERM, unix.E2BIG, unix.ERANGE, unix.ENOSPC} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// setTimes comes last, for everything else changes them. The access time is the modification time: tars
// rarely have one, and the moment of unpacking says nothing.
func (m metadata) setTimes(parent int, base string) error {
	times := []unix.Timespec{m.mtime, m.mtime}
	return failed("set times", unix.UtimesNanoAt(parent, base, times, unix.AT_SYMLINK_NOFOLLOW))
}

// setTimesOf does it for an open file. (An empty path needs Linux 5.8.)
func (m metadata) setTimesOf(fd int) error {
	times := []unix.Timespec{m.mtime, m.mtime}
	return failed("set times", unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH))
}

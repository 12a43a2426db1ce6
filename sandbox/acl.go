package sandbox

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Extended attributes that hold POSIX access control lists; see acl(5).
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default" // of what is made in a directory
)

// Tags of entries (linux/posix_acl.h).
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

const (
	aclVersion = 2
	aclNoID    = ^uint32(0) // of entries without an id
	aclSize    = 8          // bytes of an entry
)

// aclEntry is one entry of an access control list.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// acl is an access control list as the kernel takes it (linux/posix_acl_xattr.h).
type acl []aclEntry

// aclOfMode is the list that says no more than a file's mode.
func aclOfMode(mode uint32) acl {
	return acl{
		{aclUserObj, uint16(mode >> 6 & 7), aclNoID},
		{aclGroupObj, uint16(mode >> 3 & 7), aclNoID},
		{aclOther, uint16(mode & 7), aclNoID},
	}
}

func parseACL(data []byte) (acl, error) {
	if len(data) < 4 || len(data)%aclSize != 4 || binary.LittleEndian.Uint32(data) != aclVersion {
		return nil, errors.New("the access control list has an unknown form")
	}
	var list acl
	for data = data[4:]; len(data) > 0; data = data[aclSize:] {
		list = append(list, aclEntry{binary.LittleEndian.Uint16(data), binary.LittleEndian.Uint16(data[2:]), binary.LittleEndian.Uint32(data[4:])})
	}
	return list, nil
}

func (a acl) bytes() []byte {
	data := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range a {
		data = binary.LittleEndian.AppendUint16(data, e.tag)
		data = binary.LittleEndian.AppendUint16(data, e.perm)
		data = binary.LittleEndian.AppendUint32(data, e.id)
	}
	return data
}

// owner is what the owner of the file may do.
func (a acl) owner() uint16 {
	for _, e := range a {
		if e.tag == aclUserObj {
			return e.perm
		}
	}
	return 0
}

// with returns the list with what a user may do. The mask, which bounds all but the owner and the
// others, lets it through.
func (a acl) with(uid uint32, perm uint16) acl {
	list := slices.DeleteFunc(slices.Clone(a), func(e aclEntry) bool { return e.tag == aclMask || e.tag == aclUser && e.id == uid })
	list = append(list, aclEntry{aclUser, perm, uid})
	mask := aclEntry{aclMask, 0, aclNoID}
	for _, e := range list {
		if e.tag == aclUser || e.tag == aclGroup || e.tag == aclGroupObj {
			mask.perm |= e.perm
		}
	}
	list = append(list, mask)
	slices.SortFunc(list, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	return list
}

// allow lets a user do what the owner of a file may. It sets no list that is there already. Path
// is not followed if it is a link.
func allow(path string, uid, mode uint32) error {
	isDir := mode&unix.S_IFMT == unix.S_IFDIR
	list, err := readACL(path, aclAccess, mode)
	if err != nil {
		return err
	}
	wanted := list.with(uid, list.owner())
	if !slices.Equal(list, wanted) {
		if err := unix.Lsetxattr(path, aclAccess, wanted.bytes(), 0); err != nil {
			return fmt.Errorf("set an access control list: %w", err)
		}
	}
	if !isDir {
		return nil
	}
	// What the user makes here is the owner's too, whose id is that of this process.
	if list, err = readACL(path, aclDefault, mode); err != nil {
		return err
	}
	wanted = list.with(uid, list.owner()).with(uint32(unix.Geteuid()), list.owner())
	if slices.Equal(list, wanted) {
		return nil
	}
	if err := unix.Lsetxattr(path, aclDefault, wanted.bytes(), 0); err != nil {
		return fmt.Errorf("set a default access control list: %w", err)
	}
	return nil
}

// readACL reads a list; a file without one has that of its mode.
func readACL(path, name string, mode uint32) (acl, error) {
	data := make([]byte, 4+64*aclSize)
	n, err := unix.Lgetxattr(path, name, data)
	if errors.Is(err, unix.ENODATA) {
		return aclOfMode(mode), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read an access control list: %w", err)
	}
	return parseACL(data[:n])
}

package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrXattr says that an inode has extended attributes that the format has no room for. The error that wraps it
// says which.
var ErrXattr = errors.New("xattr does not fit an erofs image")

const (
	xattrHeader = 12                        // struct erofs_xattr_ibody_header: nothing of it is used, all zeros
	xattrEntry  = 4                         // struct erofs_xattr_entry
	maxXattrs   = xattrHeader + 4*(1<<16-2) // bytes of all of an inode: i_xattr_icount has 16 bits
)

// CheckXattr says whether an inode can have this attribute: the name starts with user., trusted. or security. or is
// that of a POSIX ACL, and has at most 255 bytes; the value has at most 65535. If not, the error is an ErrXattr. All
// attributes of an inode together are limited too, to 256 KiB.
func CheckXattr(name, value string) error {
	if _, _, ok := cutXattr(name); !ok {
		return fmt.Errorf("%.300q: %w: its name is of no kind that the format knows", name, ErrXattr)
	}
	if len(value) > math.MaxUint16 {
		return fmt.Errorf("%.300q: %w: its value has %d bytes, more than %d", name, ErrXattr, len(value), math.MaxUint16)
	}
	return nil
}

// cutXattr returns the number that the format has for the start of the name (EROFS_XATTR_INDEX_*), and the rest.
func cutXattr(name string) (index byte, rest string, ok bool) {
	if len(name) > unix.NAME_MAX || strings.Contains(name, "\x00") {
		return 0, "", false
	}
	switch name {
	case "system.posix_acl_access":
		return 2, "", true
	case "system.posix_acl_default":
		return 3, "", true
	}
	prefix, rest, _ := strings.Cut(name, ".")
	switch prefix {
	case "user":
		index = 1
	case "trusted":
		index = 4
	case "security":
		index = 6
	}
	return index, rest, index != 0 && rest != ""
}

func checkXattrs(xattrs map[string]string) error {
	for name, value := range xattrs {
		if err := CheckXattr(name, value); err != nil {
			return err
		}
	}
	if size := xattrsSize(xattrs); size > maxXattrs {
		return fmt.Errorf("%w: all of the file need %d bytes, more than %d", ErrXattr, size, maxXattrs)
	}
	return nil
}

// xattrsSize is the length in bytes of the attributes in the image, 0 for none.
func xattrsSize(xattrs map[string]string) int64 {
	if len(xattrs) == 0 {
		return 0
	}
	size := int64(xattrHeader)
	for name, value := range xattrs {
		_, rest, _ := cutXattr(name)
		size += (xattrEntry + int64(len(rest)) + int64(len(value)) + 3) &^ 3
	}
	return size
}

// appendXattrs adds the attributes in the order of their names.
func appendXattrs(b []byte, xattrs map[string]string) []byte {
	if len(xattrs) == 0 {
		return b
	}
	b = append(b, zeros[:xattrHeader]...)
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		index, rest, _ := cutXattr(name)
		value := xattrs[name]
		b = append(b, byte(len(rest)), index)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
		b = append(append(b, rest...), value...)
		b = append(b, zeros[:-(len(rest)+len(value))&3]...)
	}
	return b
}

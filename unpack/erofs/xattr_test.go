package erofs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

func TestXattrsAreKept(t *testing.T) {
	m := newImage(t)
	with := func(n *erofs.Inode, xattrs map[string]string) *erofs.Inode {
		n.Xattrs = xattrs
		return n
	}
	many := map[string]string{}
	for i := range 200 {
		many[fmt.Sprintf("user.%0*d", 1+i, i)] = strings.Repeat("v", i)
	}
	acl := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x07\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	m.compare(with(directory(names{
		"file":    with(m.regular("content"), map[string]string{"user.a": "1", "user.empty": "", "trusted.b": "\x00\xff", "security.capability": capability}),
		"dir":     with(directory(names{"x": symlink("t")}), map[string]string{"trusted.overlay.opaque": "y", "system.posix_acl_default": acl}),
		"acl":     with(&erofs.Inode{Mode: unix.S_IFREG | 0o644}, map[string]string{"system.posix_acl_access": acl}),
		"symlink": with(symlink("target"), map[string]string{"trusted.x": strings.Repeat("x", 100)}),
		"fifo":    with(&erofs.Inode{Mode: unix.S_IFIFO}, map[string]string{"trusted.x": "y"}),
		"many":    with(m.regular("many"), many),
		"largest": with(m.regular("largest"), map[string]string{"user.x": strings.Repeat("v", 65535)}),
		"longest": with(directory(names{}), map[string]string{"user." + strings.Repeat("n", 250): "v"}),
		"both":    with(directory(names{"x": symlink("t")}), map[string]string{"user.a": strings.Repeat("a", 65535), "user.b": strings.Repeat("b", 65535)}),
		"none":    with(symlink("none"), map[string]string{}),
	}), map[string]string{"trusted.root": "yes"}))
}

// Attributes, inode and target together reach the end of a block, and go beyond it.
func TestXattrsOfAllSizes(t *testing.T) {
	m := newImage(t)
	root := directory(names{})
	for size := 3900; size < 4150; size++ {
		n := symlink("target")
		n.Xattrs = map[string]string{"trusted.x": strings.Repeat("v", size)}
		root.Entries[fmt.Sprint(size)] = n
		d := directory(names{"a": symlink("t")})
		d.Xattrs = n.Xattrs
		root.Entries[fmt.Sprint(size, "d")] = d
	}
	m.compare(root)
}

// An inode has at most 65535 words of attributes.
func TestAllXattrsOfAnInodeTogether(t *testing.T) {
	m := newImage(t)
	n := m.regular("content")
	largest := strings.Repeat("v", 65535)
	n.Xattrs = map[string]string{"user.a": largest, "user.b": largest, "user.c": largest, "user.d": largest[:65512]}
	root := directory(names{"file": n})
	if err := m.Finish(root); !errors.Is(err, erofs.ErrXattr) {
		t.Errorf("a word more: %v", err)
	}
	n.Xattrs["user.d"] = largest[:65511]
	m.compare(root)
}

func TestXattrsThatDoNotFit(t *testing.T) {
	for name, xattrs := range map[string]map[string]string{
		"unknown prefix":    {"system.nfs4_acl": "x"},
		"no prefix":         {"name": "x"},
		"like a prefix":     {"username.x": "x"},
		"only a prefix":     {"user.": "x"},
		"more than an ACL":  {"system.posix_acl_access.x": "x"},
		"empty":             {"": "x"},
		"NUL":               {"user.a\x00b": "x"},
		"long name":         {"user." + strings.Repeat("n", 251): "x"},
		"long value":        {"user.x": strings.Repeat("v", 65536)},
		"too much together": {"user.a": strings.Repeat("v", 65535), "user.b": strings.Repeat("v", 65535), "user.c": strings.Repeat("v", 65535), "user.d": strings.Repeat("v", 65535)},
	} {
		t.Run(name, func(t *testing.T) {
			for n, value := range xattrs {
				if err := erofs.CheckXattr(n, value); !errors.Is(err, erofs.ErrXattr) && len(xattrs) == 1 {
					t.Errorf("CheckXattr: %v", err)
				}
			}
			n := &erofs.Inode{Mode: unix.S_IFREG, Xattrs: xattrs}
			if err := newImage(t).Finish(directory(names{"file": n})); !errors.Is(err, erofs.ErrXattr) {
				t.Errorf("Finish: %v", err)
			}
		})
	}
}

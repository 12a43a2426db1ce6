package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListLetsAUserDoWhatTheOwnerMay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode os.FileMode
		want acl
	}{
		{0o640, acl{{aclUserObj, 6, aclNoID}, {aclUser, 6, 1001}, {aclGroupObj, 4, aclNoID}, {aclMask, 6, aclNoID}, {aclOther, 0, aclNoID}}},
		{0o755, acl{{aclUserObj, 7, aclNoID}, {aclUser, 7, 1001}, {aclGroupObj, 5, aclNoID}, {aclMask, 7, aclNoID}, {aclOther, 5, aclNoID}}},
		{0o444, acl{{aclUserObj, 4, aclNoID}, {aclUser, 4, 1001}, {aclGroupObj, 4, aclNoID}, {aclMask, 4, aclNoID}, {aclOther, 4, aclNoID}}},
	} {
		if err := unix.Lremovexattr(file, aclAccess); err != nil && err != unix.ENODATA {
			t.Fatal(err)
		}
		if err := os.Chmod(file, test.mode); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is there already
			if err := allow(file, 1001, unix.S_IFREG|uint32(test.mode)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := readACL(file, aclAccess, 0)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%o: %v, %v; want %v", test.mode, got, err, test.want)
		}
	}
	if err := allow(filepath.Join(dir, "link"), 1001, unix.S_IFREG|0o644); err == nil {
		t.Error("a link was followed")
	}
}

func TestMalformedListIsRefused(t *testing.T) {
	for _, data := range [][]byte{nil, {2, 0, 0}, {3, 0, 0, 0}, {2, 0, 0, 0, 1}} {
		if list, err := parseACL(data); err == nil {
			t.Errorf("%v is %v", data, list)
		}
	}
}

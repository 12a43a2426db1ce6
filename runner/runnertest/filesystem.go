package runnertest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// SmallFileSystem is a folder on a file system of its own, with room for 64 KiB. It needs root.
func SmallFileSystem(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

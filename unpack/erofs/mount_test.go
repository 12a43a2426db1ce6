package erofs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

func TestMountIsDetached(t *testing.T) {
	needRoot(t)
	m := newImage(t)
	m.finish(directory(names{"file": m.regular("content")}))
	root, err := erofs.Mount(m.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	if got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/file", root)); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), m.file.Name()) {
		t.Errorf("the mount is in mountinfo (%v)", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(root, &fs); err != nil {
		t.Fatal(err)
	}
	if want := int64(unix.ST_RDONLY | unix.ST_NODEV | unix.ST_NOSUID); int64(fs.Flags)&want != want {
		t.Errorf("flags %#x", fs.Flags)
	}
	if flags, err := unix.FcntlInt(uintptr(root), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("programs that are started get the descriptor")
	}
}

func TestPathsBeyond255Bytes(t *testing.T) {
	m := newImage(t)
	m.finish(directory(nil))
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200), strings.Repeat("e", 200))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, "image")
	if err := os.Rename(m.file.Name(), long); err != nil {
		t.Fatal(err)
	}
	mountAt(t, long)
}

func TestDescriptorsArePathsToo(t *testing.T) {
	m := newImage(t)
	m.finish(directory(nil))
	mountAt(t, fmt.Sprintf("/proc/self/fd/%d", m.file.Fd()))
}

// A link planted in place of the directory must not move the mount elsewhere.
func TestMountAtFollowsNoLink(t *testing.T) {
	needRoot(t)
	m := newImage(t)
	m.finish(directory(nil))
	target, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := erofs.MountAt(m.file.Name(), link); err == nil {
		t.Errorf("mounted at the link: %v", errors.Join(unix.Unmount(target, 0)))
	}
}

func TestWhatIsNoImageIsNotMounted(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	empty, zeros := filepath.Join(dir, "empty"), filepath.Join(dir, "zeros")
	if err := errors.Join(os.WriteFile(empty, nil, 0o600), os.WriteFile(zeros, make([]byte, 8192), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, zeros, dir, "/dev/null", filepath.Join(dir, "missing"), filepath.Join(dir, strings.Repeat("missing", 50))} {
		if fd, err := erofs.Mount(path); err == nil {
			unix.Close(fd)
			t.Errorf("%s was mounted", path)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not say what: %v", err)
		}
	}
}

// The kernel sees a superblock that its storage has changed.
func TestADamagedSuperblockIsNotMounted(t *testing.T) {
	needRoot(t)
	m := newImage(t)
	m.finish(directory(nil))
	flip(t, m.file, 1024+20)
	if fd, err := erofs.Mount(m.file.Name()); err == nil {
		unix.Close(fd)
		t.Error("mounted")
	}
}

func TestSupportedLeavesNothing(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := erofs.Supported(dir); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestSupportedSaysWhatIsMissing(t *testing.T) {
	needRoot(t)
	if err := erofs.Supported(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := erofs.Supported("/proc/self"); err == nil {
		t.Error("a directory that takes no files: no error")
	}
}

// What images are for: whiteouts and opaque directories of an upper one hide what is below it.
func TestImagesAreLowerDirectoriesOfOverlayfs(t *testing.T) {
	lower, upper := newImage(t), newImage(t)
	below := lower.mount(directory(names{
		"kept": lower.regular("kept"), "removed": lower.regular("removed"), "changed": lower.regular("below"),
		"merged": directory(names{"below": lower.regular("below"), "removed": directory(names{"x": symlink("t")})}),
		"opaque": directory(names{"hidden": lower.regular("hidden")}),
	}))
	whiteout := &erofs.Inode{Mode: unix.S_IFCHR}
	opaque := directory(names{"above": upper.regular("above")})
	opaque.Xattrs = map[string]string{"trusted.overlay.opaque": "y"}
	above := upper.mount(directory(names{
		"removed": whiteout, "changed": upper.regular("above"), "opaque": opaque,
		"merged": directory(names{"above": upper.regular("above"), "removed": whiteout}),
	}))
	merged := t.TempDir()
	if err := unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+above+":"+below); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(merged, 0)
	got := snapshot(t, merged)
	for dir, want := range map[string][]string{".": {"changed", "kept", "merged", "opaque"}, "merged": {"above", "below"}, "opaque": {"above"}} {
		if !slices.Equal(got[dir].Names, want) {
			t.Errorf("%s: %q, want %q", dir, got[dir].Names, want)
		}
	}
	if got["changed"].Content != "above" || got["kept"].Content != "kept" {
		t.Errorf("contents %q and %q", got["changed"].Content, got["kept"].Content)
	}
}

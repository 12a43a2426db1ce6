package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
)

func TestCopyOfLayersIsWhatAnOverlayShows(t *testing.T) {
	dir := t.TempDir()
	lower, upper, empty := filepath.Join(dir, "lower"), filepath.Join(dir, "upper"), filepath.Join(dir, "empty")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string, mode os.FileMode) {
		do(os.MkdirAll(filepath.Dir(path), 0o755))
		do(os.WriteFile(path, []byte(text), 0o600))
		do(os.Chmod(path, mode))
		do(os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9+int64(len(path)), 5)))
	}
	for _, name := range []string{"stays", "replaced", "removed", "dir/stays", "dir/removed", "hidden/gone", "file-over-dir/gone", "dir-gone/a/b"} {
		write(filepath.Join(lower, name), "lower "+name, 0o644)
	}
	write(filepath.Join(lower, "dir-over-file"), "file", 0o644)
	do(os.Symlink(dir, filepath.Join(lower, "dir-over-link"))) // must not be followed
	write(filepath.Join(upper, "replaced"), strings.Repeat("upper", 100000), os.ModeSetuid|0o755)
	write(filepath.Join(upper, "dir/new"), "new", 0o640)
	write(filepath.Join(upper, "hidden/only"), "only", 0o600)
	write(filepath.Join(upper, "file-over-dir"), "file", 0o600)
	write(filepath.Join(upper, "dir-over-file/in"), "in", 0o600)
	write(filepath.Join(upper, "dir-over-link/in"), "in", 0o600)
	do(os.Link(filepath.Join(upper, "dir/new"), filepath.Join(upper, "dir/second name")))
	do(os.Symlink("no/such", filepath.Join(upper, "link")))
	do(os.Lchown(filepath.Join(upper, "link"), 7, 8))
	do(os.Chown(filepath.Join(upper, "dir"), 1000, 1001))
	do(os.Chmod(filepath.Join(upper, "dir"), os.ModeSticky|0o777))
	do(unix.Mkfifo(filepath.Join(upper, "fifo"), 0o622))
	for _, name := range []string{"removed", "dir/removed", "dir-gone"} {
		do(unix.Mknod(filepath.Join(upper, name), unix.S_IFCHR, 0))
	}
	do(unix.Setxattr(filepath.Join(upper, "dir/new"), "user.note", []byte("kept"), 0))
	opaque := "trusted.overlay.opaque"
	if rootless.InNamespace() {
		opaque = "user.overlay.opaque"
	}
	do(unix.Setxattr(filepath.Join(upper, "hidden"), opaque, []byte("y"), 0))
	do(os.Mkdir(empty, 0o755))

	layers := []string{lower, upper, empty}
	copied, target := filepath.Join(dir, "copied"), filepath.Join(dir, "target")
	for _, path := range []string{"copied", "target", "fs", "work"} {
		do(os.Mkdir(filepath.Join(dir, path), 0o755))
	}
	do(copyLayers(t.Context(), layers, copied))
	do(fsmountOverlay(layers, filepath.Join(dir, "fs"), filepath.Join(dir, "work"), target))
	defer unix.Unmount(target, unix.MNT_DETACH)
	got, want := listing(t, copied), listing(t, target)
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 15 {
		t.Errorf("%d files; -overlay +copy:\n%s", len(want), diff)
	}
}

// listing tells all about the files below a directory.
func listing(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d", strings.TrimPrefix(path, root), st.Mode, st.Uid, st.Gid)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			line += fmt.Sprintf(" %d names, %d bytes, at %d.%d", st.Nlink, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			note := make([]byte, 10)
			n, _ := unix.Getxattr(path, "user.note", note) // most have none
			line += fmt.Sprintf(" %.20q note %q", data, note[:max(n, 0)])
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
			line = strings.Replace(line, fmt.Sprintf(" at %d.%d", st.Mtim.Sec, st.Mtim.Nsec), "", 1)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

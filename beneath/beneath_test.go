package beneath_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// depth is what a step can nest in a second, many times the descriptors of a process.
const depth = 30_000

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func nest(t *testing.T, dir string, levels int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	for i := 0; i < levels && err == nil; i++ {
		next := -1
		if err = unix.Mkdirat(at, "d", 0o755); err == nil {
			next, err = unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		unix.Close(at)
		at = next
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(at)
}

func TestPathNeverLeavesItsRoots(t *testing.T) {
	dir := t.TempDir()
	root, inner := filepath.Join(dir, "root"), filepath.Join(dir, "root/inner")
	write(t, filepath.Join(dir, "secret"), "secret")
	write(t, filepath.Join(root, "a/file"), "fine")
	write(t, filepath.Join(root, "outside"), "of the inner root")
	write(t, filepath.Join(inner, "file"), "fine")
	link(t, "../secret", filepath.Join(root, "up"))
	link(t, filepath.Join(dir, "secret"), filepath.Join(root, "absolute"))
	link(t, "..", filepath.Join(root, "folder"))
	link(t, "a", filepath.Join(root, "within"))
	link(t, "../outside", filepath.Join(inner, "up"))
	link(t, "/proc/self/root", filepath.Join(root, "magic"))
	tests := []struct {
		name, path string
		want       string // "": refused
	}{
		{"a file", root + "/a/file", "fine"},
		{"a link within", root + "/within/file", "fine"},
		{"a file of the inner root", inner + "/file", "fine"},
		{"a link upwards", root + "/up", ""},
		{"an absolute link", root + "/absolute", ""},
		{"a folder that is a link", root + "/folder/secret", ""},
		{"a link out of the inner root only", inner + "/up", ""},
		{"a magic link", root + "/magic" + dir + "/secret", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data, err := beneath.At(test.path, inner, root).ReadFile(100)
			if test.want != "" && (string(data) != test.want || err != nil) {
				t.Errorf("got %q, %v", data, err)
			}
			if test.want == "" && !errors.Is(err, beneath.ErrLeadsOut) && !errors.Is(err, unix.ELOOP) {
				t.Errorf("got %q, %v", data, err)
			}
			if test.want == "" {
				if err := beneath.At(test.path, inner, root).WriteFile([]byte("evil"), 0o600); err == nil {
					t.Error("it was written to")
				}
			}
		})
	}
	for name, want := range map[string]string{"secret": "secret", "root/outside": "of the inner root"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); string(data) != want || err != nil {
			t.Errorf("%s is %q, %v", name, data, err)
		}
	}
}

// A step that can write to the outer root can replace the inner one.
func TestInnerRootIsOpenedBeneathTheOuterOne(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "host/file"), "secret")
	root := filepath.Join(dir, "root")
	write(t, filepath.Join(root, "file"), "")
	link(t, filepath.Join(dir, "host"), filepath.Join(root, "inner"))
	_, err := beneath.At(root+"/inner/file", root, root+"/inner").ReadFile(100)
	if !errors.Is(err, beneath.ErrLeadsOut) {
		t.Errorf("got %v", err)
	}
}

func TestMakeDirDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	made, err := beneath.At(root+"/a/b/c", root).MakeDir(0o755)
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	link(t, "..", filepath.Join(root, "out"))
	if _, err := beneath.At(root+"/out/b/c", root).MakeDir(0o755); !errors.Is(err, beneath.ErrLeadsOut) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made outside: %v", err)
	}
}

func TestReadFileOpensNothingButFiles(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "long"), strings.Repeat("x", 101))
	for _, name := range []string{"fifo", ".", "long", "missing"} {
		data, err := beneath.At(filepath.Join(dir, name), dir).ReadFile(100)
		if isRegular := name == "long" || name == "missing"; err == nil || !isRegular && !errors.Is(err, beneath.ErrIrregular) {
			t.Errorf("%s: got %d bytes, %v", name, len(data), err)
		}
	}
	if data, err := beneath.At("/dev/null").ReadFile(100); !errors.Is(err, beneath.ErrIrregular) {
		t.Errorf("a device: got %q, %v", data, err)
	}
}

func TestRemoveAllTakesAnyDepth(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 256, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	write(t, filepath.Join(dir, "outside/file"), "stays")
	for name, levels := range map[string]int{"one": depth, "two": 1000} { // a walk that comes back from the one finds the other
		write(t, filepath.Join(tree, "deep", name, "file"), "")
		nest(t, filepath.Join(tree, "deep", name), levels)
	}
	for i := range 3000 {
		write(t, filepath.Join(tree, "wide", fmt.Sprint(i%50), fmt.Sprint(i)), "")
	}
	link(t, "../outside", filepath.Join(tree, "folder"))
	link(t, "../../outside/file", filepath.Join(tree, "wide/file"))
	if err := beneath.RemoveAll(tree); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(tree); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "outside/file")); string(data) != "stays" {
		t.Errorf("what a link leads to: %q, %v", data, err)
	}
}

func TestRemoveAllOfOtherThings(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	write(t, filepath.Join(dir, "target"), "")
	link(t, "target", filepath.Join(dir, "link"))
	for _, name := range []string{"file", "link", "missing", "missing/too"} {
		if err := beneath.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "target" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestRemoveAllRefusesPathsThatMayBeTheWorkingDirectory(t *testing.T) {
	top := t.TempDir()
	inner := filepath.Join(top, "inner", "most")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(inner, "file"), "the user's")
	t.Chdir(inner)
	for _, path := range []string{"", ".", "./", "..", inner + "/.", "../most/.", "../most/.."} {
		if err := beneath.RemoveAll(path); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%q: got %v, want %v", path, err, unix.EINVAL)
		}
		if _, err := os.Stat(filepath.Join(inner, "file")); err != nil {
			t.Fatalf("%q: %v", path, err)
		}
	}
}

func TestRemoveAllNeverDeletesInAMount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "host/file"), "stays")
	write(t, filepath.Join(dir, "tree/other"), "")
	place := filepath.Join(dir, "tree/a/b")
	if err := os.MkdirAll(place, 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := beneath.At(filepath.Join(dir, "host"), dir).Open(unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := beneath.Mount(host, place); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "tree"), place} {
		if err := beneath.RemoveAll(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "tree/other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what could be removed: %v", err)
	}
	if err := unix.Unmount(place, 0); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "host/file")); string(data) != "stays" {
		t.Errorf("what was mounted: %q, %v", data, err)
	}
	if err := beneath.RemoveAll(filepath.Join(dir, "tree")); err != nil {
		t.Error(err)
	}
}

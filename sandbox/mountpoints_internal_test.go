package sandbox

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// layer makes a layer out of the names of its directories, with a slash at the end, and files.
func layer(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		place := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		if name[len(name)-1] == '/' {
			if err := os.MkdirAll(place, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(place, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(name, 0o755) // whatever the umask
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMountPointsAreMadeOnlyWhereTheyChangeNothingElse(t *testing.T) {
	asRoot := os.Geteuid() == 0 // otherwise the directories of these layers are not root's
	whiteout, link, mode, attribute := layer(t), layer(t), layer(t, "etc/"), layer(t, "etc/")
	for _, err := range []error{
		os.WriteFile(filepath.Join(whiteout, "etc"), nil, 0o644), // stands for a whiteout: no directory
		os.Symlink("elsewhere", filepath.Join(link, "etc")),
		os.Chmod(filepath.Join(mode, "etc"), 0o700),
		unix.Setxattr(filepath.Join(attribute, "etc"), "user.overlay.opaque", []byte("y"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		layers []string
		path   string
		want   bool
	}{
		{"nothing there", []string{layer(t)}, "etc/hosts", true},
		{"a directory in which it is missing", []string{layer(t, "etc/passwd")}, "etc/hosts", asRoot},
		{"in one of several layers", []string{layer(t), layer(t, "etc/")}, "etc/hosts", asRoot},
		{"there", []string{layer(t, "etc/hosts")}, "etc/hosts", false},
		{"there in a lower layer", []string{layer(t, "etc/hosts"), layer(t, "etc/")}, "etc/hosts", false},
		{"there as a directory", []string{layer(t, "proc/")}, "proc", false},
		{"below a whiteout", []string{layer(t, "etc/"), whiteout}, "etc/hosts", false},
		{"below a link", []string{link}, "etc/hosts", false},
		{"below a directory of another mode", []string{mode}, "etc/hosts", false},
		{"below an opaque directory", []string{layer(t, "etc/"), attribute}, "etc/hosts", false},
	} {
		if got := isMissing(tc.path, tc.layers); got != tc.want {
			t.Errorf("%s: missing %t, want %t", tc.name, got, tc.want)
		}
	}
}

func TestMountPointsInOtherMountsAndOfTwoKindsAreLeftToTheRuntime(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	points := wantedMountPoints(&Step{Script: []byte("true"), Mounts: []Mount{
		{Type: "bind", Source: dir, Destination: "/workspace/"},
		{Type: "bind", Source: dir, Destination: "/workspace/below"},
		{Type: "bind", Source: file, Destination: "/a file"},
		{Type: "bind", Source: file, Destination: "/twice"},
		{Type: "bind", Source: dir, Destination: "/twice"},
		{Type: "bind", Source: filepath.Join(dir, "missing"), Destination: "/missing"},
		{Type: "bind", Source: dir, Destination: "/filled", Fill: true},
		{Type: "volume", Destination: "/volume"},
		{Type: "tmpfs", Destination: "/etc"},
	}})
	got := map[string]bool{}
	for _, p := range points {
		got[p.path] = p.isDir
	}
	want := map[string]bool{"proc": true, "dev": true, "sys": true, "run/stepexec/script": false, "workspace": true, "a file": false}
	if len(got) != len(want) {
		t.Errorf("mount points %v, want %v", got, want)
	}
	for name, isDir := range want {
		if is, there := got[name]; !there || is != isDir {
			t.Errorf("%s: directory %t, there %t", name, is, there)
		}
	}
}

func TestDamagedMountPointsAreNotUsed(t *testing.T) {
	points := []mountPoint{{"etc/hosts", false}, {"proc", true}}
	h := &Host{dir: t.TempDir()}
	made := func() string {
		all := t.TempDir()
		folder := filepath.Join(all, "key")
		if err := h.makeMountPoints(all, folder, points); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	asRoot := os.Geteuid() == 0 // a user's own are of no use in an image, whose directories are root's
	if folder := made(); areMountPoints(folder, points) != asRoot {
		t.Errorf("new ones: usable %t", !asRoot)
	}
	for name, damage := range map[string]func(folder string) error{
		"missing": func(folder string) error { return os.Remove(filepath.Join(folder, "proc")) },
		"mode":    func(folder string) error { return os.Chmod(filepath.Join(folder, "etc"), 0o700) },
		"content": func(folder string) error { return os.WriteFile(filepath.Join(folder, "etc/hosts"), []byte("x"), 0) },
		"wrong kind": func(folder string) error {
			return errors.Join(os.Remove(filepath.Join(folder, "proc")), os.Symlink("/", filepath.Join(folder, "proc")))
		},
		"no directory":  os.RemoveAll,
		"another place": func(folder string) error { return os.Rename(folder, folder+"x") },
	} {
		folder := made()
		if err := damage(folder); err != nil {
			t.Fatal(err)
		}
		if areMountPoints(folder, points) {
			t.Errorf("%s: used nevertheless", name)
		}
	}
}

func TestMountPointsAreMadeOnceAndNotWithoutLimit(t *testing.T) {
	h, all := &Host{dir: t.TempDir()}, t.TempDir()
	for range mountPointDirs + 1 {
		folder := filepath.Join(all, rand.Text())
		for range 2 { // the second time as if another run had been faster
			if err := h.makeMountPoints(all, folder, []mountPoint{{"proc", true}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if made, err := os.ReadDir(all); err != nil || len(made) != mountPointDirs {
		t.Errorf("%d folders (%v), want %d", len(made), err, mountPointDirs)
	}
	if left, err := os.ReadDir(h.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// rootfs:DIR can be a directory that the state root is in, such as /: no overlay takes both.
func TestLayersThatTheStateRootIsInTakeNoMountPoints(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "a", "root")
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "a", "link")); err != nil {
		t.Fatal(err)
	}
	for layer, want := range map[string]bool{
		"/": true, dir: true, filepath.Join(dir, "a"): true, root: true, filepath.Join(dir, "a", "link"): true,
		"/usr": false, filepath.Join(dir, "b"): false,
	} {
		if got := isInAny(root, []string{"/usr", layer}); got != want {
			t.Errorf("%s: %v, want %v", layer, got, want)
		}
	}
}

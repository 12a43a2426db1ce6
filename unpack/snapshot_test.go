package unpack_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
	"github.com/stepexec/stepexec/unpack/erofs"
)

// formatVariable names the layer format of the tests' stores in the environment: see TestErofsPassesTheSameTests.
const formatVariable = "STEPEXEC_TEST_LAYER_FORMAT"

// A node is everything that can be told of a file without opening its neighbours.
type node struct {
	Type     string
	Mode     uint32
	UID, GID uint32
	Mtime    string
	Rdev     uint64
	Target   string // of a symbolic link
	Content  string // of a regular file: size and hash, or the content when it is short
	Nlink    uint64 // of everything but directories
	Xattrs   string
}

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: owners, device nodes, overlay mounts")
	}
}

// snapshot reads the tree at root; the root itself is ".".
func snapshot(tb testing.TB, root string) map[string]node {
	tb.Helper()
	nodes := map[string]node{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		nodes[rel], err = readNode(path)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return nodes
}

func readNode(path string) (node, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return node{}, fmt.Errorf("lstat %s: %w", path, err)
	}
	n := node{
		Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Nlink: uint64(st.Nlink),
		Mtime: fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec),
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		n.Type, n.Nlink = "dir", 0
	case unix.S_IFREG:
		n.Type = "file"
		n.Content, err = readContent(path)
	case unix.S_IFLNK:
		n.Type = "symlink"
		n.Target, err = os.Readlink(path)
	case unix.S_IFCHR:
		n.Type, n.Rdev = "char", st.Rdev
	case unix.S_IFBLK:
		n.Type, n.Rdev = "block", st.Rdev
	case unix.S_IFIFO:
		n.Type = "fifo"
	}
	if err != nil {
		return n, err
	}
	n.Xattrs, err = readXattrs(path)
	return n, err
}

func readContent(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil || len(data) <= 64 {
		return string(data), err
	}
	return fmt.Sprintf("%d bytes %x", len(data), sha256.Sum256(data)), nil
}

func readXattrs(path string) (string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var out []string
	for _, name := range strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", err
		}
		out = append(out, fmt.Sprintf("%s=%q", name, value[:n]))
	}
	slices.Sort(out)
	return strings.Join(out, " "), nil
}

// overlay mounts the lowerdirs, lowest first, and returns the merged directory. The writable layer on top is
// what a step has too; its root carries the metadata of the topmost lower root.
func overlay(tb testing.TB, lowerdirs []string) string {
	tb.Helper()
	lowerdirs = mounted(tb, lowerdirs)
	base := plainDir(tb)
	merged, upper, work := filepath.Join(base, "merged"), filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, d := range []string{merged, upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	top := lowerdirs[len(lowerdirs)-1]
	var reversed []string
	for i := len(lowerdirs) - 1; i >= 0; i-- {
		reversed = append(reversed, lowerdirs[i])
	}
	options := "index=off,redirect_dir=off,metacopy=off,lowerdir=" + strings.Join(reversed, ":")
	if len(lowerdirs) == 1 {
		copyRoot(tb, top, upper)
		options += ",upperdir=" + upper + ",workdir=" + work
	}
	if err := unix.Mount("overlay", merged, "overlay", unix.MS_NODEV, options); err != nil {
		tb.Fatalf("mount overlay %s: %v", options, err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(merged, 0); err != nil {
			tb.Errorf("unmount %s: %v", merged, err)
		}
	})
	return merged
}

func copyRoot(tb testing.TB, from, to string) {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		tb.Fatal(err)
	}
	err := errors.Join(unix.Chown(to, int(st.Uid), int(st.Gid)), unix.Chmod(to, st.Mode&0o7777),
		unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Mtim, st.Mtim}, 0))
	if err != nil {
		tb.Fatal(err)
	}
}

func openStore(tb testing.TB) (store *unpack.Store, root string) {
	tb.Helper()
	needRoot(tb)
	root = filepath.Join(plainDir(tb), "store")
	return reopen(tb, root), root
}

// reopen opens the store as another process would, or the same one after a boot.
func reopen(tb testing.TB, root string) *unpack.Store {
	tb.Helper()
	s, err := unpack.OpenStore(root)
	if err != nil {
		tb.Fatal(err)
	}
	if s.Format, err = unpack.ParseFormat(os.Getenv(formatVariable)); err != nil {
		tb.Fatal(err)
	}
	closeStore(tb, s)
	return s
}

// closeStore closes the store at the test's end.
func closeStore(tb testing.TB, s *unpack.Store) {
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
}

// plainDir is a temporary directory without the test's name, whose commas would end a mount option.
func plainDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "unpack-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// unpackAll unpacks the layers into a new store and returns the lowerdirs.
func unpackAll(tb testing.TB, layers ...unpack.Layer) []string {
	tb.Helper()
	s, _ := openStore(tb)
	lowerdirs, err := s.Unpack(tb.Context(), layers, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return mounted(tb, lowerdirs)
}

// mounted returns the directories of the lowerdirs: those that are EROFS images are mounted.
func mounted(tb testing.TB, lowerdirs []string) []string {
	tb.Helper()
	var dirs []string
	for _, path := range lowerdirs {
		info, err := os.Stat(path)
		if err != nil {
			tb.Fatal(err)
		}
		if !info.IsDir() {
			image := path
			path = plainDir(tb)
			if err := erofs.MountAt(image, path); err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() {
				if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
					tb.Errorf("unmount %s: %v", path, err)
				}
			})
		}
		dirs = append(dirs, path)
	}
	return dirs
}

// unpackOne unpacks a layer of the entries and returns its directory.
func unpackOne(tb testing.TB, entries ...entry) string {
	tb.Helper()
	return unpackAll(tb, layerOf(tb, entries...))[0]
}

// merge unpacks the layers and returns what a step would see.
func merge(tb testing.TB, layers ...unpack.Layer) map[string]node {
	tb.Helper()
	return snapshot(tb, overlay(tb, unpackAll(tb, layers...)))
}

// names lists the paths of a snapshot without the root.
func names(nodes map[string]node) []string {
	var out []string
	for path := range nodes {
		if path != "." {
			out = append(out, path)
		}
	}
	return out
}

// assertClean fails when anything but finished layers is to be seen in the store.
func assertClean(tb testing.TB, root string, wantLayers int) {
	tb.Helper()
	for dir, want := range map[string]int{"tmp": 0, "layers/sha256": wantLayers} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			tb.Fatal(err)
		}
		if len(entries) != want {
			tb.Errorf("%s has %d entries, want %d: %v", dir, len(entries), want, entries)
		}
	}
}

var sorted = cmpopts.SortSlices(strings.Compare)

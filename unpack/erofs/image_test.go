package erofs_test

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// An image is one being written, with what its files are to contain.
type image struct {
	*erofs.Writer
	tb       testing.TB
	file     *os.File
	contents map[*erofs.Inode]string
}

func newImage(tb testing.TB) *image {
	tb.Helper()
	file, err := os.Create(filepath.Join(tb.TempDir(), "image"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { file.Close() })
	return &image{erofs.NewWriter(file), tb, file, map[*erofs.Inode]string{}}
}

func (m *image) regular(content string) *erofs.Inode {
	m.tb.Helper()
	if err := m.Append([]byte(content)); err != nil {
		m.tb.Fatal(err)
	}
	n := &erofs.Inode{Mode: unix.S_IFREG | 0o644, Content: m.EndFile()}
	m.contents[n] = content
	return n
}

func symlink(target string) *erofs.Inode {
	return &erofs.Inode{Mode: unix.S_IFLNK | 0o777, Target: target}
}

type names = map[string]*erofs.Inode

func directory(entries names) *erofs.Inode {
	return &erofs.Inode{Mode: unix.S_IFDIR | 0o755, Entries: entries}
}

// finish makes the image whole and checks what every image has to be.
func (m *image) finish(root *erofs.Inode) {
	m.tb.Helper()
	if err := m.Finish(root); err != nil {
		m.tb.Fatal(err)
	}
	info, err := m.file.Stat()
	if err != nil {
		m.tb.Fatal(err)
	}
	if info.Size() != m.Size() || info.Size()%4096 != 0 {
		m.tb.Fatalf("the file has %d bytes, the writer says %d", info.Size(), m.Size())
	}
}

// mount finishes the image and returns the directory where it is mounted.
func (m *image) mount(root *erofs.Inode) string {
	m.tb.Helper()
	m.finish(root)
	return mountAt(m.tb, m.file.Name())
}

func mountAt(tb testing.TB, image string) string {
	tb.Helper()
	needRoot(tb)
	dir := tb.TempDir()
	if err := erofs.MountAt(image, dir); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			tb.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: mounts")
	}
}

// compare mounts the image and compares every file in it with the tree.
func (m *image) compare(root *erofs.Inode) {
	m.tb.Helper()
	dir := m.mount(root)
	if diff := gocmp.Diff(m.expect(root), snapshot(m.tb, dir), cmpopts.EquateEmpty()); diff != "" {
		m.tb.Errorf("the mounted image differs (-want +mounted):\n%s", diff)
	}
}

// A node is everything that can be told of a file without opening its neighbours.
type node struct {
	Mode     uint32
	UID, GID uint32
	Mtime    unix.Timespec
	Rdev     uint64
	Nlink    uint64
	Size     int64
	First    string // the first path of the same inode
	Target   string
	Content  string
	Xattrs   map[string]string
	Names    []string // as readdir gives them
}

// expect returns what the mount has to show of root.
func (m *image) expect(root *erofs.Inode) map[string]node {
	nodes, paths := map[string]node{}, map[*erofs.Inode][]string{}
	var add func(name string, n *erofs.Inode)
	add = func(name string, n *erofs.Inode) {
		want := node{
			Mode: n.Mode, UID: n.UID, GID: n.GID, Mtime: n.Mtime, Rdev: n.Rdev, Target: n.Target, Xattrs: n.Xattrs,
			Content: m.contents[n], Size: int64(len(m.contents[n]) + len(n.Target)), Nlink: 1,
		}
		if n.Mode&unix.S_IFMT == unix.S_IFDIR {
			want.Nlink = 2
		}
		paths[n] = append(paths[n], name)
		for _, base := range slices.Sorted(maps.Keys(n.Entries)) {
			child := n.Entries[base]
			if child.Mode&unix.S_IFMT == unix.S_IFDIR {
				want.Nlink++
			}
			want.Names = append(want.Names, base)
			add(path.Join(name, base), child)
		}
		nodes[name] = want
	}
	add(".", root)
	for _, same := range paths {
		slices.SortFunc(same, asWalked)
		for _, name := range same {
			n := nodes[name]
			n.First, n.Nlink = same[0], n.Nlink+uint64(len(same)-1)
			nodes[name] = n
		}
	}
	return nodes
}

// asWalked is the order in which filepath.WalkDir meets paths.
func asWalked(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "/"), strings.Split(b, "/"), cmp.Compare[string])
}

// snapshot reads the mounted tree; the root itself is ".".
func snapshot(tb testing.TB, root string) map[string]node {
	tb.Helper()
	nodes, first := map[string]node{}, map[uint64]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(file, &st); err != nil {
			return err
		}
		if _, ok := first[st.Ino]; !ok {
			first[st.Ino] = name
		}
		n := node{
			Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim, Rdev: st.Rdev, Nlink: uint64(st.Nlink), First: first[st.Ino],
		}
		if err := n.read(file, &st, d); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		nodes[name] = n
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return nodes
}

func (n *node) read(file string, st *unix.Stat_t, d fs.DirEntry) (err error) {
	if info, err := os.Lstat(file); err != nil || info.Mode().Type() != d.Type() {
		return fmt.Errorf("readdir says %v, lstat %v: %w", d.Type(), info.Mode().Type(), err)
	}
	if st.Atim != st.Mtim || st.Ctim != st.Mtim {
		return fmt.Errorf("times %v %v %v", st.Atim, st.Mtim, st.Ctim)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		entries, err := os.ReadDir(file) // in the order of the names
		if err != nil {
			return err
		}
		for _, e := range entries {
			n.Names = append(n.Names, e.Name())
		}
	case unix.S_IFREG:
		n.Size = st.Size
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		n.Content = string(data)
	case unix.S_IFLNK:
		n.Size = st.Size
		if n.Target, err = os.Readlink(file); err != nil {
			return err
		}
	}
	n.Xattrs, err = readXattrs(file)
	return err
}

func readXattrs(file string) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(file, list)
	if err != nil || n == 0 {
		return nil, err
	}
	xattrs := map[string]string{}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		size, err := unix.Lgetxattr(file, name, value)
		if errors.Is(err, unix.ENODATA) && strings.HasPrefix(name, "user.") {
			continue // of what is neither a file nor a directory
		}
		if err != nil {
			return nil, fmt.Errorf("xattr %q: %w", name, err)
		}
		xattrs[name] = string(value[:size])
	}
	return xattrs, nil
}

package unpack_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A place is what a tree has at one path, and what can only be told by looking at the others.
type place struct {
	node
	Names string // all names of its inode, when there are more than one
	Holes bool   // it is a long file, and not all of it is data (lseek(2), SEEK_HOLE)
}

// An inode is the file behind a name. In an overlay of several filesystems the number alone does not tell it.
type inode struct{ dev, ino uint64 }

// places reads the tree at root. Times since the start of the comparison are "now".
func places(t *testing.T, root string, start time.Time) map[string]place {
	t.Helper()
	now := start.Add(-10 * time.Millisecond) // the kernel's clock for files is that much behind
	tree := map[string]place{}
	names := map[inode][]string{}
	inodes := map[string]inode{}
	err := filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		n, err := readNode(file)
		if errors.Is(err, fs.ErrNotExist) {
			tree[path] = place{node: node{Type: "name without a file"}}
			return nil
		}
		if err != nil {
			return err
		}
		info, err := os.Lstat(file)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if mtime := info.ModTime(); mtime.After(now) && mtime.Before(time.Now()) {
			n.Mtime = "now"
		}
		holes, err := hasHoles(file, info)
		if err != nil {
			return err
		}
		tree[path] = place{node: n, Holes: holes}
		inodes[path] = inode{st.Dev, st.Ino}
		names[inodes[path]] = append(names[inodes[path]], path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, p := range tree {
		if shared := names[inodes[path]]; len(shared) > 1 && p.Type != "dir" {
			p.Names = strings.Join(slices.Sorted(slices.Values(shared)), " ")
			tree[path] = p
		}
	}
	return tree
}

func hasHoles(path string, info fs.FileInfo) (bool, error) {
	if !info.Mode().IsRegular() || info.Size() < 1<<20 {
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	return hole < info.Size(), err
}

// fields are all of a place, in words.
func (p place) fields() map[string]string {
	return map[string]string{
		"type": p.Type, "mode": fmt.Sprintf("%o", p.Mode), "owner": fmt.Sprintf("%d:%d", p.UID, p.GID), "mtime": p.Mtime,
		"device": fmt.Sprintf("%d:%d", unix.Major(p.Rdev), unix.Minor(p.Rdev)), "target": p.Target,
		"content": p.Content, "links": fmt.Sprint(p.Nlink), "xattrs": fmt.Sprintf("[%s]", p.Xattrs),
		"names": fmt.Sprintf("[%s]", p.Names), "holes": fmt.Sprint(p.Holes),
	}
}

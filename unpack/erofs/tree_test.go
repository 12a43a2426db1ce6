package erofs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// Targets go beside the inode while both fit a block, 4032 bytes, and into a block of their own from there on.
func TestTargetsOfAllLengths(t *testing.T) {
	m := newImage(t)
	root := directory(names{})
	for length := 1; length <= 4095; length++ {
		if length > 2 && length < 3900 && length%37 != 0 {
			continue
		}
		root.Entries[fmt.Sprint(length)] = symlink(strings.Repeat("t", length))
		n := symlink(strings.Repeat("u", length))
		n.Xattrs = map[string]string{"trusted.x": "value"}
		root.Entries[fmt.Sprint(length, "x")] = n
	}
	m.compare(root)
}

// One name grows until the directory needs a block of its own, then two; and the same with many names.
func TestDirectoriesAroundTheEndsOfBlocks(t *testing.T) {
	for _, used := range []int{4032, 4096, 8192} {
		m := newImage(t)
		root := directory(names{})
		for extra := -30; extra <= 30; extra++ {
			root.Entries[fmt.Sprint(extra)] = directory(namesOfBytes(used + extra))
		}
		m.compare(root)
	}
}

// namesOfBytes returns entries that need so many bytes in a directory, with those of "." and "..".
func namesOfBytes(size int) names {
	entries := names{}
	for size -= 12 + 1 + 12 + 2; size > 0; {
		length := min(size-12, 200)
		if rest := size - 12 - length; rest > 0 && rest < 20 {
			length -= 20
		}
		name := fmt.Sprintf("%03d", len(entries))
		entries[name+strings.Repeat("n", length-len(name))] = &erofs.Inode{Mode: unix.S_IFREG}
		size -= 12 + length
	}
	return entries
}

func TestNamesOf255Bytes(t *testing.T) {
	m := newImage(t)
	root := directory(names{strings.Repeat("x", 255): directory(names{})})
	for i := range 300 {
		root.Entries[fmt.Sprintf("%0255d", i)] = symlink("t")
	}
	m.compare(root)
}

func TestADirectoryOf100000Names(t *testing.T) {
	m := newImage(t)
	root := directory(names{})
	for i := range 100_000 {
		root.Entries[fmt.Sprintf("name of a file, number %d", i*7919%1_000_003)] = &erofs.Inode{Mode: unix.S_IFREG, UID: uint32(i)}
	}
	dir := m.mount(root)
	for name, n := range root.Entries {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil || st.Uid != n.UID {
			t.Fatalf("%s: owner %d, want %d: %v", name, st.Uid, n.UID, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "name of a file")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name that is not there: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 100_000 {
		t.Errorf("%d names, %v", len(entries), err)
	}
}

func TestATreeOf1000Levels(t *testing.T) {
	m := newImage(t)
	root := directory(names{"leaf": m.regular("deepest")})
	for range 1000 {
		root = directory(names{"d": root})
	}
	m.compare(root)
}

func TestAMillionInodes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	m := newImage(t)
	root := directory(names{})
	for i := range 1000 {
		sub := directory(names{})
		for j := range 1000 {
			sub.Entries[fmt.Sprint(j)] = &erofs.Inode{Mode: unix.S_IFREG, UID: uint32(i*1000 + j)}
		}
		root.Entries[fmt.Sprint(i)] = sub
	}
	dir := m.mount(root)
	for i := range 1000 {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, fmt.Sprint(i), fmt.Sprint(999-i)), &st); err != nil || st.Uid != uint32(i*1000+999-i) {
			t.Fatalf("%d: owner %d, %v", i, st.Uid, err)
		}
	}
}

// Lookups never read these entries, only readdir does: they are right all the same.
func TestDotAndDotDot(t *testing.T) {
	m := newImage(t)
	dir := m.mount(directory(names{"sub": directory(names{"subsub": directory(nil)})}))
	inode := func(path string) uint64 {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	root, sub := inode(dir), inode(dir+"/sub")
	if root == 0 {
		t.Error("the root is inode 0")
	}
	for path, want := range map[string][2]uint64{"": {root, root}, "/sub": {sub, root}, "/sub/subsub": {inode(dir + "/sub/subsub"), sub}} {
		got := dots(t, dir+path)
		if got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}

// dots returns the inode numbers that readdir gives for "." and "..".
func dots(t *testing.T, path string) (inodes [2]uint64) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Getdents(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	for b := buf[:n]; len(b) > 0; { // struct linux_dirent64
		length := int(b[16]) | int(b[17])<<8
		var ino uint64
		for i := 7; i >= 0; i-- {
			ino = ino<<8 | uint64(b[i])
		}
		switch name, _, _ := strings.Cut(string(b[19:length]), "\x00"); name {
		case ".":
			inodes[0] = ino
		case "..":
			inodes[1] = ino
		}
		b = b[length:]
	}
	return inodes
}

func TestNamesThatAreNoneAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "/", "a/b", "/etc", "../x", "x/", "a\x00b", "\x00", strings.Repeat("x", 256)} {
		for depth, root := range []*erofs.Inode{
			directory(names{name: symlink("t")}),
			directory(names{"sub": directory(names{name: symlink("t")})}),
		} {
			if err := newImage(t).Finish(root); err == nil {
				t.Errorf("%.20q at depth %d: no error", name, depth)
			}
		}
	}
}

func TestTreesThatCannotBeAreRefused(t *testing.T) {
	other := newImage(t)
	elsewhere := other.regular(strings.Repeat("x", 100_000))
	twice := directory(names{"x": symlink("t")})
	cycle := directory(names{})
	cycle.Entries["sub"] = directory(names{"up": cycle})
	self := directory(names{})
	self.Entries["self"] = self
	in := func(n *erofs.Inode) *erofs.Inode { return directory(names{"name": n}) }
	for name, root := range map[string]*erofs.Inode{
		"no root":                          nil,
		"root that is a file":              {Mode: unix.S_IFREG},
		"no inode":                         in(nil),
		"directory with two names":         directory(names{"a": twice, "b": twice}),
		"directory below itself":           cycle,
		"directory in itself":              self,
		"no type":                          in(&erofs.Inode{Mode: 0o644}),
		"unknown type":                     in(&erofs.Inode{Mode: 0o130644}),
		"bits beyond the mode":             in(&erofs.Inode{Mode: unix.S_IFREG | 1<<16}),
		"owner -1":                         in(&erofs.Inode{Mode: unix.S_IFREG, UID: 1<<32 - 1}),
		"group -1":                         in(&erofs.Inode{Mode: unix.S_IFREG, GID: 1<<32 - 1}),
		"content of another image":         in(elsewhere),
		"content of a symlink":             in(&erofs.Inode{Mode: unix.S_IFLNK, Target: "t", Content: elsewhere.Content}),
		"entries of a file":                in(&erofs.Inode{Mode: unix.S_IFREG, Entries: names{"x": symlink("t")}}),
		"target of a file":                 in(&erofs.Inode{Mode: unix.S_IFREG, Target: "t"}),
		"target of a directory":            in(&erofs.Inode{Mode: unix.S_IFDIR, Target: "t"}),
		"empty target":                     in(symlink("")),
		"target too long":                  in(symlink(strings.Repeat("t", 4096))),
		"target with NUL":                  in(symlink("a\x00b")),
		"major too large":                  in(&erofs.Inode{Mode: unix.S_IFCHR, Rdev: unix.Mkdev(1<<12, 0)}),
		"minor too large":                  in(&erofs.Inode{Mode: unix.S_IFBLK, Rdev: unix.Mkdev(0, 1<<20)}),
		"owner of the root, which is none": {Mode: unix.S_IFDIR, UID: 1<<32 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := newImage(t)
			kept := m.regular("kept")
			if err := m.Finish(root); err == nil {
				t.Error("no error")
			}
			m.compare(directory(names{"kept": kept})) // the writer is as it was before
		})
	}
}

// What is wrong with a tree can be put right, and the tree be finished then.
func TestATreeCanBeFinishedAgain(t *testing.T) {
	m := newImage(t)
	n := m.regular("shared")
	root := directory(names{"a": n, "b": n, "sub": directory(names{"c": n, "..": n})})
	if err := m.Finish(root); err == nil {
		t.Fatal("no error")
	}
	delete(root.Entries["sub"].Entries, "..")
	m.compare(root)
}

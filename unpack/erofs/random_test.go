package erofs_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// Dice are bytes that decide what a tree is made of. When they run out they show 0.
type dice []byte

// n returns a number from 0 to below limit.
func (d *dice) n(limit int) int {
	value := 0
	for size := 1; size < limit; size <<= 8 {
		value <<= 8
		if len(*d) > 0 {
			value |= int((*d)[0])
			*d = (*d)[1:]
		}
	}
	return value % limit
}

func (d *dice) one(of ...string) string { return of[d.n(len(of))] }

// A treeMaker makes a tree into an image.
type treeMaker struct {
	*image
	*dice
	made    []*erofs.Inode // all but directories
	hostile bool           // something of it has to be refused
}

// tree makes a directory and what is below it. With depth left, one entry in four is a directory.
func (m *treeMaker) tree(depth int) *erofs.Inode {
	dir := m.dress(directory(names{}))
	for range m.n(1 + 4*depth) {
		name := m.name()
		if dir.Entries[name] != nil {
			continue
		}
		if m.n(4) == 0 && depth > 0 {
			dir.Entries[name] = m.tree(depth - 1)
		} else {
			dir.Entries[name] = m.leaf()
		}
	}
	return dir
}

func (m *treeMaker) name() string {
	switch m.n(16) {
	case 0:
		return strings.Repeat("long", 63) + m.one("", "a", "ab", "abc")
	case 1:
		return m.one("\xff", "\n", " ", "!", "-", "...", "..a", ".a", "\x1b[31m", "é", "a\xff", "\x01")
	case 2:
		return strings.Repeat("n", 1+m.n(255))
	case 3:
		if m.n(64) == 63 {
			m.hostile = true
			return m.one("", ".", "..", "a/b", "/", "a\x00", strings.Repeat("x", 256))
		}
	}
	return m.one("a", "b", "c", "file", "dir") + m.one("", "0", "1", "2", ".x")
}

func (m *treeMaker) leaf() *erofs.Inode {
	if m.n(6) == 0 && len(m.made) > 0 {
		return m.made[m.n(len(m.made))]
	}
	n := &erofs.Inode{}
	switch m.n(10) {
	case 0:
		n.Mode, n.Rdev = unix.S_IFCHR, unix.Mkdev(uint32(m.n(1<<12)), uint32(m.n(1<<20)))
	case 1:
		n.Mode, n.Rdev = unix.S_IFBLK, unix.Mkdev(uint32(m.n(1<<12)), uint32(m.n(1<<20)))
	case 2:
		n.Mode = unix.S_IFIFO
	case 3:
		n.Mode = unix.S_IFSOCK
	case 4, 5:
		n = symlink(m.one("/etc/passwd", "..", "a", strings.Repeat("t", 1+m.n(4095))))
	default:
		n = m.content()
	}
	m.made = append(m.made, n)
	return m.dress(n)
}

func (m *treeMaker) content() *erofs.Inode {
	var parts []int64
	for range m.n(4) {
		size := int64([]int{0, 1, m.n(5000), 4095, 4096, 4097, m.n(60_000)}[m.n(7)])
		if m.n(3) == 0 {
			size = -size
		}
		parts = append(parts, size)
	}
	return m.holed(parts...)
}

// dress gives an inode metadata.
func (m *treeMaker) dress(n *erofs.Inode) *erofs.Inode {
	n.Mode = n.Mode&unix.S_IFMT | uint32(m.n(1<<12))
	n.UID, n.GID = uint32(m.n(1<<30)), uint32(m.n(1<<16))
	n.Mtime = unix.NsecToTimespec(int64(m.n(1<<30)-1<<29)<<33 + int64(m.n(1e9)))
	if m.n(4) != 0 {
		return n
	}
	prefixes := []string{"trusted."}
	if kind := n.Mode & unix.S_IFMT; kind == unix.S_IFREG || kind == unix.S_IFDIR {
		prefixes = append(prefixes, "user.", "security.")
	}
	n.Xattrs = map[string]string{}
	for range m.n(4) {
		name := m.one(prefixes...) + m.one("a", "overlay.opaque", "name.with.dots", strings.Repeat("n", 1+m.n(200)))
		n.Xattrs[name] = strings.Repeat(m.one("v", "\x00", "\xff"), []int{0, 1, m.n(300), m.n(5000), m.n(65536)}[m.n(5)])
	}
	return n
}

// check makes the tree that the dice decide and compares it with its mount.
func check(t *testing.T, data []byte) (hostile bool) {
	d := dice(data)
	m := &treeMaker{image: newImage(t), dice: &d}
	root := m.tree(4)
	if m.hostile {
		if err := m.Finish(root); err == nil {
			t.Error("a hostile tree was taken")
		}
		return true
	}
	m.compare(root)
	if err := erofs.Check(m.file, m.Size(), m.Sum()); err != nil {
		t.Error(err)
	}
	return false
}

func randomBytes(seed uint64, limit int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, 1+r.IntN(limit))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// The mount of a random tree shows that tree, to the last attribute.
func TestMountsOfRandomTreesShowThem(t *testing.T) {
	needRoot(t)
	hostile := 0
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			if check(t, randomBytes(seed, 8000)) {
				hostile++
			}
		})
	}
	if hostile > 150 {
		t.Errorf("%d of 300 trees were hostile", hostile)
	}
}

func FuzzMountShowsTheTree(f *testing.F) {
	needRoot(f)
	for seed := range uint64(8) {
		f.Add(randomBytes(seed, 200)) // short: the fuzzer spends its time on making them shorter
	}
	f.Fuzz(func(t *testing.T, data []byte) { check(t, data) })
}

// The dice do throw everything: a generator that makes too little would prove too little.
func TestRandomTreesHaveEverything(t *testing.T) {
	kinds, xattrs, links := map[uint32]int{}, 0, 0
	for seed := range uint64(50) {
		d := dice(randomBytes(seed, 8000))
		m := &treeMaker{image: newImage(t), dice: &d}
		paths := map[*erofs.Inode]int{}
		var count func(*erofs.Inode)
		count = func(n *erofs.Inode) {
			kinds[n.Mode&unix.S_IFMT]++
			xattrs += len(n.Xattrs)
			if paths[n]++; paths[n] == 2 {
				links++
			}
			for _, child := range n.Entries {
				count(child)
			}
		}
		count(m.tree(4))
	}
	if len(kinds) != 7 || slices.Min(slices.Collect(maps.Values(kinds))) < 20 || xattrs < 100 || links < 20 {
		t.Errorf("types %v, %d xattrs, %d links", kinds, xattrs, links)
	}
}

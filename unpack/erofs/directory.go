package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const direntSize = 12

// A directory is a directory's content: names in the order of their bytes, as the kernel searches them by halves,
// "." and ".." among them.
type directory struct {
	entries []entry
	size    int64 // bytes in the image
}

type entry struct {
	name  string
	inode *Inode
}

func newDirectory(n, parent *Inode) (*directory, error) {
	entries := make([]entry, 0, len(n.Entries)+2)
	for name, child := range n.Entries {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("entry %.300q: %w", name, err)
		}
		if child == nil {
			return nil, fmt.Errorf("entry %.300q: %w", name, errors.New("no inode"))
		}
		entries = append(entries, entry{name, child})
	}
	entries = append(entries, entry{".", n}, entry{"..", parent})
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	d := &directory{entries: entries}
	for chunk := range d.chunks() {
		d.size = blocks(d.size)*blockSize + chunkSize(chunk)
	}
	return d, nil
}

// chunks yields the entries block by block: each block is a directory of its own, with as many as fit.
func (d *directory) chunks() iter.Seq[[]entry] {
	return func(yield func([]entry) bool) {
		for rest := d.entries; len(rest) > 0; {
			n, size := 0, 0
			for n < len(rest) && size+direntSize+len(rest[n].name) <= blockSize {
				size += direntSize + len(rest[n].name)
				n++
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

func chunkSize(chunk []entry) (size int64) {
	for _, e := range chunk {
		size += direntSize + int64(len(e.name))
	}
	return size
}

// append adds the directory to b, all blocks but the last one padded.
func (d *directory) append(b []byte) []byte {
	begin := len(b)
	for chunk := range d.chunks() {
		b = append(b, zeros[:-(len(b)-begin)&(blockSize-1)]...)
		b = appendChunk(b, chunk)
	}
	return b
}

// appendChunk adds a block (struct erofs_dirent): first where the names are, then the names. The first entry's
// offset tells how many there are.
func appendChunk(b []byte, chunk []entry) []byte {
	name := len(chunk) * direntSize
	for _, e := range chunk {
		b = binary.LittleEndian.AppendUint64(b, uint64(e.inode.nid))
		b = binary.LittleEndian.AppendUint16(b, uint16(name))
		b = append(b, fileType(e.inode), 0)
		name += len(e.name)
	}
	for _, e := range chunk {
		b = append(b, e.name...)
	}
	return b
}

// fileType returns the type as directories have it (FT_* of include/linux/fs_types.h).
func fileType(n *Inode) byte {
	switch n.kind() {
	case unix.S_IFREG:
		return 1
	case unix.S_IFDIR:
		return 2
	case unix.S_IFCHR:
		return 3
	case unix.S_IFBLK:
		return 4
	case unix.S_IFIFO:
		return 5
	case unix.S_IFSOCK:
		return 6
	case unix.S_IFLNK:
		return 7
	}
	return 0
}

package erofs

import (
	"errors"
	"fmt"
	"math"
)

const (
	slotSize  = 32 // inodes are numbered by these
	inodeSize = 64 // extended inodes: the others have no time, 16-bit owners and link counts

	// firstInode leaves the first slots of the metadata free: readdir(3) takes inode 0 for a deleted file.
	firstInode = 2 * slotSize
)

// A layout is where everything goes: the inodes breadth first, so that those of a directory are neighbours and the
// root is the first one, as its number has to fit 16 bits.
type layout struct {
	start  int64 // first block of the metadata
	blocks int64 // of the image
	nodes  []node
}

// A node is an inode in its layout.
type node struct {
	*Inode
	dir *directory // of a directory, else nil
}

// offset is where the inode is, in bytes from the first block of the metadata.
func (n node) offset() int64 { return int64(n.nid) * slotSize }

// newLayout returns the layout of root and all below it in an image whose content ends before the block start. The
// caller resets it, also when there is an error.
func newLayout(root *Inode, start int64) (*layout, error) {
	l := &layout{start: start}
	if root == nil || !root.isDir() {
		return l, errors.New("the root is not a directory")
	}
	if err := l.add(root, root); err != nil {
		return l, fmt.Errorf("root directory: %w", err)
	}
	for i := 0; i < len(l.nodes); i++ { // they become more meanwhile
		if err := l.addEntries(l.nodes[i]); err != nil {
			return l, err
		}
	}
	return l, l.place()
}

// add adds an inode that was not met before.
func (l *layout) add(n, parent *Inode) (err error) {
	if err := n.check(l.start); err != nil {
		return err
	}
	added := node{Inode: n}
	n.links = 1
	if n.isDir() {
		n.links = 2 // the second one is its "."
		added.dir, err = newDirectory(n, parent)
	}
	l.nodes = append(l.nodes, added)
	return err
}

func (l *layout) addEntries(n node) error {
	if n.dir == nil {
		return nil
	}
	for _, e := range n.dir.entries {
		if e.name == "." || e.name == ".." {
			continue
		}
		if err := l.addName(e.inode, n.Inode); err != nil {
			return fmt.Errorf("entry %.300q: %w", e.name, err)
		}
	}
	return nil
}

func (l *layout) addName(n, parent *Inode) error {
	switch {
	case n.links == 0:
		if n.isDir() {
			parent.links++ // by the ".." in it
		}
		return l.add(n, parent)
	case n.isDir(): // and perhaps one that is its own ancestor
		return errors.New("a directory has this name and another one")
	default:
		n.links++
		return nil
	}
}

// place gives every inode its number, and a block to what does not fit beside its inode. Neither an inode nor what is
// beside it goes across the end of a block: the kernel refuses such link targets and directories.
func (l *layout) place() error {
	end, outside := int64(firstInode), int64(0)
	for _, n := range l.nodes {
		size := inodeSize + xattrsSize(n.Xattrs)
		if data := n.dataSize(); size+data <= blockSize {
			size += data
		} else if data > 0 {
			n.block = uint32(1 + outside)
			outside += blocks(data)
		}
		end = (end + slotSize - 1) &^ (slotSize - 1)
		if room := blockSize - end%blockSize; size > room && size <= blockSize {
			end += room
		}
		n.nid = uint32(end / slotSize)
		end += size
	}
	base := l.start + blocks(end)
	l.blocks = base + outside
	if l.blocks > maxBlocks || end/slotSize > math.MaxUint32 {
		return ErrTooLarge
	}
	for _, n := range l.nodes {
		if n.block != 0 {
			n.block += uint32(base - 1)
		}
	}
	return nil
}

// reset makes the inodes forget the layout.
func (l *layout) reset() {
	for _, n := range l.nodes {
		n.links, n.nid, n.block = 0, 0, 0
	}
}

// dataSize is the length in bytes of what the writer itself writes for an inode: a directory, a link target.
func (n node) dataSize() int64 {
	if n.dir != nil {
		return n.dir.size
	}
	return int64(len(n.Target))
}

func (n node) appendData(b []byte) []byte {
	if n.dir != nil {
		return n.dir.append(b)
	}
	return append(b, n.Target...)
}

// blocks returns how many of them so many bytes need.
func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize }

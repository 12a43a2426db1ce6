package erofs

import (
	"encoding/binary"
	"hash/crc32"

	"golang.org/x/sys/unix"
)

// Numbers of the format, by their names in fs/erofs/erofs_fs.h.
const (
	magic            = 0xE0F5E1E2 // EROFS_SUPER_MAGIC_V1
	superOffset      = 1024       // EROFS_SUPER_OFFSET
	superSize        = 128        // struct erofs_super_block
	featureChecksum  = 0x1        // EROFS_FEATURE_COMPAT_SB_CHKSUM
	featureMtime     = 0x2        // EROFS_FEATURE_COMPAT_MTIME
	blockBits        = 12         // s[12], blkszbits: the one size that all kernels and architectures with 4 KiB pages know
	versionExtended  = 1          // EROFS_INODE_LAYOUT_EXTENDED
	layoutFlatPlain  = 0          // EROFS_INODE_FLAT_PLAIN
	layoutFlatInline = 2          // EROFS_INODE_FLAT_INLINE
)

// appendInode adds an inode (struct erofs_inode_extended) and its attributes.
func appendInode(b []byte, n node, number uint32) []byte {
	size, format := n.Content.size, layoutFlatPlain
	if data := n.dataSize(); data > 0 {
		size = data
		if n.block == 0 {
			format = layoutFlatInline
		}
	}
	words := 0
	if xattrs := xattrsSize(n.Xattrs); xattrs > 0 {
		words = int(xattrs-xattrHeader)/4 + 1
	}
	le := binary.LittleEndian
	b = le.AppendUint16(b, uint16(versionExtended|format<<1))
	b = le.AppendUint16(b, uint16(words))
	b = le.AppendUint16(b, uint16(n.Mode))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint32(b, n.address())
	b = le.AppendUint32(b, number)
	b = le.AppendUint32(b, n.UID)
	b = le.AppendUint32(b, n.GID)
	b = le.AppendUint64(b, uint64(n.Mtime.Sec))
	b = le.AppendUint32(b, uint32(min(max(n.Mtime.Nsec, 0), 999_999_999)))
	b = le.AppendUint32(b, n.links)
	b = append(b, zeros[:16]...)
	return appendXattrs(b, n.Xattrs)
}

// address is the first block of what the inode has outside of it, or the number of a device.
func (n node) address() uint32 {
	switch n.kind() {
	case unix.S_IFREG:
		return n.Content.block
	case unix.S_IFCHR, unix.S_IFBLK:
		major, minor := unix.Major(n.Rdev), unix.Minor(n.Rdev)
		return minor&0xff | major<<8 | minor&^0xff<<12 // new_encode_dev() of include/linux/kdev_t.h
	default:
		return n.block
	}
}

// superblock returns the first block, of an image of which the rest has this sum.
func superblock(l *layout, sum uint32) []byte {
	block := make([]byte, blockSize)
	le, s := binary.LittleEndian, block[superOffset:superOffset+superSize]
	le.PutUint32(s[0:], magic)
	le.PutUint32(s[8:], featureChecksum|featureMtime)
	s[12] = blockBits
	le.PutUint16(s[14:], uint16(l.nodes[0].nid))
	le.PutUint64(s[16:], uint64(len(l.nodes)))
	le.PutUint32(s[36:], uint32(l.blocks))
	le.PutUint32(s[40:], uint32(l.start))
	// The UUID. Overlayfs turns some of its features off above lower file systems that have none or the same one.
	le.PutUint32(s[48:], sum)
	le.PutUint32(s[52:], uint32(l.blocks))
	le.PutUint32(s[56:], uint32(l.start))
	le.PutUint32(s[60:], uint32(len(l.nodes)))
	// The kernel's crc32c() does not invert the result, and takes the block from the superblock on.
	le.PutUint32(s[4:], ^crc32.Checksum(block[superOffset:], castagnoli))
	return block
}

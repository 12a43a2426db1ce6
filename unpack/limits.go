package unpack

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits bound the cost of one layer, so that a decompression bomb ends in ErrTooLarge rather than
// in a full disk or a killed process. A zero field means its default.
type Limits struct {
	Bytes   int64 // size of the uncompressed tar, and total size of its files including holes; default 256 GiB
	Entries int64 // entries plus the directories that they imply; default 5 million
	Depth   int   // components in a path; default 1024
	Ratio   int64 // uncompressed bytes per compressed byte beyond the first 64 MiB; default 1100 (gzip reaches 1032)
	Memory  int64 // bytes of names and xattrs kept in memory until the layer's end; default 256 MiB
}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 256 << 30
	}
	if l.Entries == 0 {
		l.Entries = 5_000_000
	}
	if l.Depth == 0 {
		l.Depth = 1024
	}
	if l.Ratio == 0 {
		l.Ratio = 1100
	}
	if l.Memory == 0 {
		l.Memory = 256 << 20
	}
	return l
}

const (
	spaceMargin   = 256 << 20 // bytes kept free on the store's disk, or 5 % of a small disk
	inodeMargin   = 10_000    // inodes kept free, or 5 % of a small disk's
	bytesPerCheck = 16 << 20  // bytes written between two checks of the free space
	filesPerCheck = 1024      // files made between two checks of the free space
)

// A budget counts what one layer consumes.
type budget struct {
	limits  Limits
	fd      int // a directory on the store's disk
	entries int64
	bytes   int64
	memory  int64
	written int64 // bytes since the last check of the free space
	made    int64 // entries since then
}

// newBudget returns the budget of a layer that is unpacked into dir, or ENOSPC when the disk is
// already full. Release it with close.
func newBudget(limits Limits, dir string) (*budget, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	b := &budget{limits: limits, fd: fd}
	if err := b.checkSpace(0); err != nil {
		b.close()
		return nil, fmt.Errorf("prepare %s: %w", dir, err)
	}
	return b, nil
}

func (b *budget) close() { _ = unix.Close(b.fd) } // O_PATH: nothing to flush

// entry counts one file or directory.
func (b *budget) entry() error {
	b.entries++
	if b.entries > b.limits.Entries {
		return fmt.Errorf("%w: more than %d entries", ErrTooLarge, b.limits.Entries)
	}
	b.made++
	if b.made < filesPerCheck {
		return nil
	}
	return b.checkSpace(0)
}

// keep counts a string that stays in memory until the layer's end, and returns a copy: a substring
// of a header would keep the whole header, up to 1 MiB, in memory.
func (b *budget) keep(s string) (string, error) {
	const overhead = 64 // bytes of a map entry
	b.memory += int64(len(s)) + overhead
	if b.memory > b.limits.Memory {
		return "", fmt.Errorf("%w: names and attributes of more than %d bytes", ErrTooLarge, b.limits.Memory)
	}
	return strings.Clone(s), nil
}

// file admits a file of size bytes. Holes count towards Bytes, but not as space on the disk.
func (b *budget) file(size int64, sparse bool) error {
	if size < 0 || size > b.limits.Bytes-b.bytes {
		return fmt.Errorf("%w: its files are more than %d bytes", ErrTooLarge, b.limits.Bytes)
	}
	b.bytes += size
	if sparse || size < bytesPerCheck {
		return nil
	}
	return b.checkSpace(size)
}

// wrote counts n bytes written to the disk.
func (b *budget) wrote(n int) error {
	b.written += int64(n)
	if b.written < bytesPerCheck {
		return nil
	}
	return b.checkSpace(0)
}

// checkSpace returns an error that wraps ENOSPC when writing need more bytes would eat into the
// margin.
func (b *budget) checkSpace(need int64) error {
	b.written, b.made = 0, 0
	var st unix.Statfs_t
	if err := unix.Fstatfs(b.fd, &st); err != nil {
		return failed("read free space", err)
	}
	free, size := int64(st.Bavail)*int64(st.Bsize), int64(st.Blocks)*int64(st.Bsize)
	if margin := min(spaceMargin, size/20); size > 0 && need > free-margin {
		return fmt.Errorf("%d bytes are free and %d of them are kept free: %w", free, margin, unix.ENOSPC)
	}
	if margin := min(inodeMargin, st.Files/20); st.Files > 0 && st.Ffree < margin {
		return fmt.Errorf("%d inodes are free and %d of them are kept free: %w", st.Ffree, margin, unix.ENOSPC)
	}
	return nil
}

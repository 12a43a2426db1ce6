package erofs

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	blockSize = 1 << blockBits
	maxBlocks = 1<<32 - 1 // addresses have 32 bits, and the last one means none

	// bufferSize is that of a write, a multiple of blockSize; the buffer stays in the processor's cache for the sum.
	bufferSize = 512 << 10
)

var zeros [blockSize]byte

var errFinished = errors.New("image is finished: nothing can be added")

// A Writer makes one image. Contents come first, file by file; Finish makes an image of them. After the error of a
// write all that follows returns that error. A Writer is for one goroutine.
type Writer struct {
	f      io.WriterAt
	buf    []byte // what comes at offset and is not written yet
	offset int64  // a multiple of blockSize
	start  int64  // where the current file starts
	sum    uint32 // of what is written, from the second block on; in the end of all
	err    error
}

// NewWriter returns a Writer of an image into f, which is empty.
func NewWriter(f io.WriterAt) *Writer {
	return &Writer{f: f, buf: make([]byte, 0, bufferSize), offset: blockSize, start: blockSize}
}

// Append adds p to the content of the current file. It returns ErrTooLarge or the error of a write.
func (w *Writer) Append(p []byte) error {
	w.reserve(int64(len(p)))
	for len(p) > 0 && w.err == nil {
		n := copy(w.buf[len(w.buf):cap(w.buf)], p)
		w.buf, p = w.buf[:len(w.buf)+n], p[n:]
		if len(w.buf) == cap(w.buf) {
			w.flush()
		}
	}
	return w.err
}

// Hole adds n zero bytes to the content of the current file. Whole blocks of them are not written, so that the
// image's file is as sparse as the file in it: a few bytes of a tar must not fill the disk. It returns ErrTooLarge
// or the error of a write.
func (w *Writer) Hole(n int64) error {
	if n < 0 {
		return fmt.Errorf("hole of %d bytes", n)
	}
	if w.reserve(n); w.err != nil {
		return w.err
	}
	head := min(n, w.padding())
	skipped := (n - head) / blockSize * blockSize
	w.write(zeros[:head])
	if skipped > 0 {
		w.flush()
		w.sum = sumZeros(w.sum, skipped)
		w.offset += skipped
	}
	return w.Append(zeros[:n-head-skipped])
}

// EndFile ends the current file and returns where it is; what is appended then is another file. The error of a
// write that this needs comes from whatever is called next.
func (w *Writer) EndFile() Extent {
	size := w.position() - w.start
	if size == 0 {
		return Extent{}
	}
	e := Extent{block: uint32(w.start / blockSize), size: size}
	w.pad()
	w.start = w.position()
	return e
}

// Finish adds the metadata of root and all below it, and the superblock: now the image is whole, and its length a
// multiple of the block size. An error that is no write's leaves the Writer as it was before: ErrXattr and what
// else is wrong with the tree, and ErrTooLarge. The tree must not be changed, nor be finished elsewhere, meanwhile.
// What is written is not synced.
func (w *Writer) Finish(root *Inode) error {
	if w.err != nil {
		return w.err
	}
	if w.position() != w.start {
		return errors.New("finish image: the last file is not ended")
	}
	l, err := newLayout(root, w.start/blockSize)
	defer l.reset()
	if err != nil {
		return fmt.Errorf("finish image: %w", err)
	}
	w.writeMetadata(l)
	w.flush()
	w.writeSuperblock(l)
	if w.err != nil {
		return w.err
	}
	w.err, w.buf = errFinished, nil
	return nil
}

// Size returns the length of the image in bytes, for what is written so far; after Finish it is final.
func (w *Writer) Size() int64 { return w.position() }

// Sum returns the CRC-32C of the whole image, holes and superblock included, once Finish has returned nil. Check
// compares it with a file.
func (w *Writer) Sum() uint32 { return w.sum }

// position is the offset in the image of what is added next.
func (w *Writer) position() int64 { return w.offset + int64(len(w.buf)) }

// padding is the number of bytes from the position to the end of its block.
func (w *Writer) padding() int64 { return -w.position() & (blockSize - 1) }

func (w *Writer) pad() { w.write(zeros[:w.padding()]) }

// write is Append where the error is looked at later.
func (w *Writer) write(p []byte) { _ = w.Append(p) }

func (w *Writer) reserve(n int64) {
	if w.err == nil && n > maxBlocks*blockSize-w.position() {
		w.err = ErrTooLarge
	}
}

func (w *Writer) flush() {
	if w.err != nil || len(w.buf) == 0 {
		return
	}
	w.writeAt(w.buf, w.offset)
	w.sum = crc32.Update(w.sum, castagnoli, w.buf)
	w.offset += int64(len(w.buf))
	w.buf = w.buf[:0]
}

func (w *Writer) writeAt(p []byte, offset int64) {
	if _, err := w.f.WriteAt(p, offset); err != nil {
		w.err = fmt.Errorf("write %d bytes of the image at %d: %w", len(p), offset, err)
	}
}

// writeMetadata writes the inodes, and after them what did not fit beside them.
func (w *Writer) writeMetadata(l *layout) {
	base := w.position()
	var b []byte
	for number, n := range l.nodes {
		if w.err != nil {
			return // and the position means nothing
		}
		w.write(zeros[:base+n.offset()-w.position()])
		b = appendInode(b[:0], n, uint32(number))
		if n.block == 0 {
			b = n.appendData(b)
		}
		w.write(b)
	}
	w.pad()
	for _, n := range l.nodes {
		if n.block != 0 {
			b = n.appendData(b[:0])
			w.write(b)
			w.pad()
		}
	}
}

// writeSuperblock writes the first block, with which the image becomes one.
func (w *Writer) writeSuperblock(l *layout) {
	if w.err != nil {
		return
	}
	b := superblock(l, w.sum)
	w.writeAt(b, 0)
	w.sum = sumConcat(crc32.Checksum(b, castagnoli), w.sum, w.offset-blockSize)
}

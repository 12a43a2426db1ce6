package gunzip

import (
	"encoding/binary"
	"errors"
	"io"
)

// Input is read in large pieces. Bits are taken from a word that is refilled from it; behind the end of the
// source there are zeros, so that nobody has to look for the end before each bit, but only afterwards whether it
// was overrun.

const (
	inputSize = 64 << 10
	wordSize  = 8
	spare     = 2 * wordSize // bytes that there are for two refills without a look at the limit
)

type input struct {
	src    io.Reader
	srcErr error // what follows the input
	in     [inputSize + 2*spare]byte
	inPos  int // of the next byte that goes into bits
	inEnd  int
	taken  int64  // bytes that have left the buffer
	bits   uint64 // next ones, the lowest first. What lies above nbits is right too, and comes again
	nbits  uint
}

// fillInput makes sure that there is something to refill bits from.
func (f *input) fillInput() {
	if f.inEnd-f.inPos >= spare || f.srcErr != nil {
		return
	}
	f.giveBack()
	f.taken += int64(f.inPos)
	f.inEnd = copy(f.in[:], f.in[f.inPos:f.inEnd])
	f.inPos = 0
	const mostEmpty = 100 // reads in a row that bring nothing, as in package bufio
	for empty := 0; f.inEnd < 2*spare && f.srcErr == nil; empty++ {
		n, err := f.src.Read(f.in[f.inEnd:inputSize])
		f.inEnd += n
		f.srcErr = err
		if n > 0 {
			empty = 0
		}
		if empty == mostEmpty && err == nil {
			f.srcErr = io.ErrNoProgress
		}
	}
	if f.srcErr != nil {
		clear(f.in[f.inEnd : f.inEnd+2*spare])
	}
}

// giveBack returns whole bytes to the buffer. They are still there.
func (f *input) giveBack() {
	f.inPos -= int(f.nbits >> 3)
	f.nbits &= 7
	f.bits &= 1<<f.nbits - 1
}

// inLimit is the last position for two refills.
func (f *input) inLimit() int {
	if f.srcErr != nil {
		return f.inEnd + wordSize
	}
	return f.inEnd - spare
}

// overrun reports whether bits behind the end of the source were used.
func (f *input) overrun() bool {
	return f.srcErr != nil && f.inPos*8-int(f.nbits) > f.inEnd*8
}

// refill makes nbits at least 56. Call it only when there is no overrun.
func (f *input) refill() {
	f.fillInput()
	f.bits |= binary.LittleEndian.Uint64(f.in[f.inPos:]) << (f.nbits & 63)
	f.inPos += int(63-f.nbits) >> 3
	f.nbits |= 56
}

// take returns the next n bits, at most 56.
func (f *input) take(n uint) (int, error) {
	f.refill()
	v := f.bits & (1<<n - 1)
	f.bits >>= n
	f.nbits -= n
	if f.overrun() {
		return 0, f.srcErr
	}
	return int(v), nil
}

// full reads bytes, from the next whole one on, with the errors of io.ReadFull.
func (f *input) full(p []byte) error {
	f.giveBack()
	f.bits, f.nbits = 0, 0
	for n := 0; n < len(p); {
		f.fillInput()
		if f.inPos >= f.inEnd {
			if n > 0 {
				return noEOF(f.srcErr)
			}
			return f.srcErr
		}
		k := copy(p[n:], f.in[f.inPos:f.inEnd])
		f.inPos += k
		n += k
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

package gunzip

import (
	"compress/flate"
	"encoding/binary"
	"errors"
)

const (
	historyMax = 32 << 10  // how far back a match may reach
	windowSize = 256 << 10 // history and output; what is left of it bounds a call of more
	slack      = 300       // behind the output: a match of 258 bytes and a word
)

// An inflater decodes the deflate stream of one member after the other (RFC 1951).
type inflater struct {
	input

	window [windowSize + slack]byte
	low    int // where this member's content begins
	sent   int // read has passed on so far
	pos    int // decoded so far

	state    state
	last     bool // the block is the member's last
	left     int  // bytes of a stored block
	literals literalTable
	offsets  offsetTable
}

// A state is what comes next in the stream.
type state int

const (
	betweenBlocks state = iota
	inStored
	inHuffman
)

var errEndOfMember = errors.New("end of the member")

// begin starts a member.
func (f *inflater) begin() { f.state, f.last, f.low = betweenBlocks, false, f.pos }

// read passes on what is decoded.
func (f *inflater) read(p []byte) int {
	n := copy(p, f.window[f.sent:f.pos])
	f.sent += n
	return n
}

// more decodes some more, when all is passed on, and returns it. Its error is errEndOfMember, also together with
// content, or that of a broken stream.
func (f *inflater) more() ([]byte, error) {
	if f.pos > windowSize/2 {
		keep := min(historyMax, f.pos-f.low)
		copy(f.window[:], f.window[f.pos-keep:f.pos])
		f.low, f.pos = 0, keep
	}
	start := f.pos
	f.sent = start
	for f.pos < windowSize {
		if err := f.step(); err != nil {
			if f.overrun() {
				err = f.srcErr
			}
			if err != errEndOfMember {
				f.pos = start // the last of a broken stream may be made of the zeros behind it
			}
			return f.window[start:f.pos], noEOF(err)
		}
	}
	return f.window[start:f.pos], nil
}

// step decodes to the end of the block, the window or the input buffer.
func (f *inflater) step() error {
	switch {
	case f.state == inStored:
		return f.stored()
	case f.state == inHuffman:
		f.fillInput()
		if f.overrun() {
			return f.srcErr
		}
		return f.huffman()
	case f.last:
		return errEndOfMember
	default:
		return f.beginBlock()
	}
}

func (f *inflater) corrupt() error {
	return flate.CorruptInputError(f.taken + int64(f.inPos) - int64(f.nbits>>3))
}

// beginBlock reads the header of a block.
func (f *inflater) beginBlock() error {
	head, err := f.take(3)
	if err != nil {
		return err
	}
	f.last = head&1 == 1
	switch head >> 1 {
	case 0:
		var size [4]byte
		if err := f.full(size[:]); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint16(size[:])
		if n != ^binary.LittleEndian.Uint16(size[2:]) {
			return f.corrupt()
		}
		f.state, f.left = inStored, int(n)
		return nil
	case 1:
		f.state = inHuffman
		return f.fixedCodes()
	case 2:
		f.state = inHuffman
		return f.dynamicCodes()
	default:
		return f.corrupt()
	}
}

// stored copies some of a stored block.
func (f *inflater) stored() error {
	n := min(f.left, windowSize-f.pos)
	if err := f.full(f.window[f.pos : f.pos+n]); err != nil {
		return err
	}
	f.pos += n
	f.left -= n
	if f.left == 0 {
		f.state = betweenBlocks
	}
	return nil
}

// fixedCodes makes the tables of RFC 1951, section 3.2.6.
func (f *inflater) fixedCodes() error {
	var lengths [maxLiterals]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	var offsets [maxOffsets]uint8
	for i := range offsets {
		offsets[i] = 5
	}
	if !build(f.literals[:], literalBits, lengths[:], literalEntry) || !build(f.offsets[:], offsetBits, offsets[:], offsetEntry) {
		return f.corrupt()
	}
	return nil
}

// dynamicCodes reads the codes of a block: RFC 1951, section 3.2.7.
func (f *inflater) dynamicCodes() error {
	head, err := f.take(14)
	if err != nil {
		return err
	}
	literals, offsets, codes := head&31+257, head>>5&31+1, head>>10+4
	if literals > 286 || offsets > 30 {
		return f.corrupt()
	}
	order := [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	var small [len(order)]uint8
	for _, symbol := range order[:codes] {
		n, err := f.take(3)
		if err != nil {
			return err
		}
		small[symbol] = uint8(n)
	}
	var table [1 << lengthBits]entry
	if !build(table[:], lengthBits, small[:], lengthEntry) {
		return f.corrupt()
	}
	var lengths [286 + 30]uint8
	if err := f.codeLengths(&table, lengths[:literals+offsets]); err != nil {
		return err
	}
	if !build(f.literals[:], literalBits, lengths[:literals], literalEntry) ||
		!build(f.offsets[:], offsetBits, lengths[literals:literals+offsets], offsetEntry) {
		return f.corrupt()
	}
	return nil
}

// codeLengths reads run-length coded lengths.
func (f *inflater) codeLengths(table *[1 << lengthBits]entry, lengths []uint8) error {
	for i := 0; i < len(lengths); {
		f.refill()
		e := table[f.bits&(1<<lengthBits-1)]
		if e&isSpecial != 0 {
			return f.corrupt()
		}
		if _, err := f.take(uint(e & 0xff)); err != nil {
			return err
		}
		symbol := uint8(e >> 16)
		if symbol < 16 {
			lengths[i] = symbol
			i++
			continue
		}
		repeat := [3]struct{ min, bits uint }{{3, 2}, {3, 3}, {11, 7}}[symbol-16]
		more, err := f.take(repeat.bits)
		if err != nil {
			return err
		}
		n, value := int(repeat.min)+more, uint8(0)
		if symbol == 16 {
			if i == 0 {
				return f.corrupt()
			}
			value = lengths[i-1]
		}
		if n > len(lengths)-i {
			return f.corrupt()
		}
		for range n {
			lengths[i] = value
			i++
		}
	}
	return nil
}

// huffman decodes until the block ends or the window or the input runs out. A refill gives 56 bits: enough
// for three literals of the first table, or for a match, 15+5 and 15+13.
func (f *inflater) huffman() error {
	const literalMask, offsetMask = 1<<literalBits - 1, 1<<offsetBits - 1
	in, window, literals, offsets := &f.in, &f.window, &f.literals, &f.offsets
	bits, nbits, inPos, pos := f.bits, f.nbits, f.inPos, f.pos
	inLimit := f.inLimit()
	valid := true
	for pos < windowSize && inPos <= inLimit {
		bits |= binary.LittleEndian.Uint64(in[inPos:inPos+wordSize]) << (nbits & 63)
		inPos += int(63-nbits) >> 3
		nbits |= 56
		e := literals[bits&literalMask]
		if e&isLiteral != 0 {
			bits >>= e & 63
			nbits -= uint(e & 0xff)
			window[pos] = byte(e >> 16)
			pos++
			e = literals[bits&literalMask]
			if e&isLiteral != 0 {
				bits >>= e & 63
				nbits -= uint(e & 0xff)
				window[pos] = byte(e >> 16)
				pos++
				e = literals[bits&literalMask]
				if e&isLiteral != 0 {
					bits >>= e & 63
					nbits -= uint(e & 0xff)
					window[pos] = byte(e >> 16)
					pos++
					continue
				}
			}
			bits |= binary.LittleEndian.Uint64(in[inPos:inPos+wordSize]) << (nbits & 63)
			inPos += int(63-nbits) >> 3
			nbits |= 56
		}
		if e&isLink != 0 {
			bits >>= literalBits
			nbits -= literalBits
			e = literals[(uint(e>>16)+uint(bits)&(1<<(e>>8&15)-1))&(uint(len(literals))-1)]
		}
		used := bits
		bits >>= e & 63
		nbits -= uint(e & 0xff)
		if e&(isLiteral|isSpecial) != 0 {
			if e&isLiteral != 0 {
				window[pos] = byte(e >> 16)
				pos++
				continue
			}
			if e&isEnd != 0 {
				f.state = betweenBlocks
				break
			}
			valid = false
			break
		}
		length := int(e>>16) + int(used&(1<<(e&63)-1)>>(e>>8&15))

		e = offsets[bits&offsetMask]
		if e&isSpecial != 0 {
			if e&isLink == 0 {
				valid = false
				break
			}
			bits >>= offsetBits
			nbits -= offsetBits
			e = offsets[(uint(e>>16)+uint(bits)&(1<<(e>>8&15)-1))&(uint(len(offsets))-1)]
			if e&isSpecial != 0 {
				valid = false
				break
			}
		}
		used = bits
		bits >>= e & 63
		nbits -= uint(e & 0xff)
		offset := int(e>>16) + int(used&(1<<(e&63)-1)>>(e>>8&15))
		if offset > pos-f.low {
			valid = false
			break
		}
		match(window, pos, offset, length)
		pos += length
	}
	f.bits, f.nbits, f.inPos, f.pos = bits, nbits, inPos, pos
	if !valid {
		return f.corrupt()
	}
	return nil
}

// match copies length bytes from offset bytes before pos, which may be among those that it copies, and up to
// a word more.
func match(window *[windowSize + slack]byte, pos, offset, length int) {
	end, from := pos+length, pos-offset
	if offset >= wordSize {
		for pos < end {
			word := binary.LittleEndian.Uint64(window[from : from+wordSize])
			binary.LittleEndian.PutUint64(window[pos:pos+wordSize], word)
			pos, from = pos+wordSize, from+wordSize
		}
		return
	}
	for ; pos < end; pos, from = pos+1, from+1 {
		window[pos] = window[from]
	}
}

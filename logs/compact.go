package logs

import (
	"encoding/binary"
	"math/bits"
)

// pack copies what is kept of visible[n:] to text[j:], eight bytes at once and with a mark for each eight, until an
// escape, a character outside of ASCII, or no room for eight. It returns where both go on, and the number of marks.
// The measured reason: every byte of every step passes here.
func pack(text []byte, j int, visible []byte, n int, marks []mark) (goOn, from, blocks int) {
	for m := range marks {
		if n+8 > len(visible) || j+8 > len(text) {
			return j, n, m
		}
		eight := binary.LittleEndian.Uint64(visible[n : n+8])
		keep, stop := classify(eight)
		marks[m] = mark{uint32(j), uint32(n)}
		if stop != 0 {
			before := bits.TrailingZeros64(stop) / 8
			packed, count := compact(eight, keep&(1<<(8*before)-1))
			binary.LittleEndian.PutUint64(text[j:j+8], packed)
			return j + count, n + before, m + 1
		}
		packed, count := compact(eight, keep)
		binary.LittleEndian.PutUint64(text[j:j+8], packed)
		n, j = n+8, j+count
	}
	return j, n, len(marks)
}

// classify looks up eight bytes of a visible text, the first of them the lowest, as classes has them: keep has the
// high bit of those set that are kept, stop of those that are neither kept nor left out. Both hold up to the first
// byte in stop.
func classify(eight uint64) (keep, stop uint64) {
	// Added to a byte below 0x80, these set its high bit if it is at least '(', '%', '\'' and 1.
	const parenthesis, percent, quote = (0x80 - '(') * eachByte, (0x80 - '%') * eachByte, (0x80 - '\'') * eachByte
	const nonZero = 0x7f * eachByte
	// Of what is below '(', only '!' and '#' are kept, and only '%' and '&' begin something.
	escapes := (eight+percent)&^(eight+quote) | ^(eight ^ '\\'*eachByte + nonZero)
	low := (eight | 2*eachByte) ^ '#'*eachByte + nonZero
	keep = (eight + parenthesis | ^low) & (eight ^ '+'*eachByte + nonZero) & (eight ^ '`'*eachByte + nonZero) & highBits
	return keep, (eight | escapes) & highBits
}

// moves is how to close the gaps between those of eight bytes that are kept.
type moves struct {
	by1, by2, by4 uint64 // the bytes that move towards the first by 1, then those by 2 and by 4
	count         int    // number of bytes kept
}

// compact moves the bytes that are kept to the front, and returns their number. What follows them is 0.
func compact(eight, keep uint64) (uint64, int) {
	m := &compactions[(keep>>7)*0x0102040810204080>>56]
	eight &= keep<<1 - keep>>7
	move := eight & m.by1
	eight = eight ^ move | move>>8
	move = eight & m.by2
	eight = eight ^ move | move>>16
	move = eight & m.by4
	return eight ^ move | move>>32, m.count
}

// compactions has the moves for each set of bytes that are kept, a bit for each byte.
var compactions = func() (all [256]moves) {
	for set := range all {
		m := &all[set]
		for i := range 8 {
			if set>>i&1 == 0 {
				continue
			}
			gap := i - m.count // how far the byte moves
			m.by1 |= byteAt(i) * uint64(gap&1)
			m.by2 |= byteAt(i-gap&1) * uint64(gap>>1&1)
			m.by4 |= byteAt(i-gap&3) * uint64(gap>>2&1)
			m.count++
		}
	}
	return all
}()

// byteAt is a mask of one of eight bytes.
func byteAt(i int) uint64 { return 0xff << (8 * i) }

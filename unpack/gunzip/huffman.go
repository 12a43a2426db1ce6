package gunzip

// A table entry says all of one code. Its low byte is how many bits to drop.
//
//	literal:         isLiteral | byte<<16 | bits of the code
//	length, distance: base<<16 | bits of the code << 8 | bits of the code and its extra bits
//	end of block:    isSpecial | isEnd | bits of the code
//	long code:       isSpecial | isLink | start of its subtable <<16 | bits of that <<8 | bits of this table
//	no code:         isSpecial
type entry uint32

const (
	isLiteral entry = 1 << 31
	isSpecial entry = 1 << 15
	isLink    entry = 1 << 14
	isEnd     entry = 1 << 13
)

const (
	maxCode     = 15 // bits
	literalBits = 11 // of the first table: nearly all codes of real streams are in it
	offsetBits  = 8
	lengthBits  = 7 // of the codes that code lengths have: there are no longer ones

	maxLiterals = 288
	maxOffsets  = 32
	endOfBlock  = 256
)

// The tables' sizes are powers of two, so that a masked index needs no check. The first table and all subtables
// of a complete code take at most 2342 and 402 entries (zlib's enough.c).
type (
	literalTable [4096]entry
	offsetTable  [1024]entry
)

// RFC 1951, section 3.2.5.
func literalEntry(symbol int) entry {
	switch {
	case symbol < endOfBlock:
		return isLiteral | entry(symbol)<<16
	case symbol == endOfBlock:
		return isSpecial | isEnd
	case symbol == 285:
		return 258 << 16
	case symbol < 265:
		return entry(symbol-257+3) << 16
	case symbol < 285:
		extra := (symbol - 261) / 4
		return entry((4+(symbol-265)%4)<<extra+3)<<16 | entry(extra)
	default:
		return isSpecial // 286 and 287 are in the fixed code and mean nothing
	}
}

func offsetEntry(symbol int) entry {
	switch {
	case symbol < 4:
		return entry(symbol+1) << 16
	case symbol < 30:
		extra := (symbol - 2) / 2
		return entry((2+symbol%2)<<extra+1)<<16 | entry(extra)
	default:
		return isSpecial // 30 and 31, as above
	}
}

func lengthEntry(symbol int) entry { return entry(symbol) << 16 }

// build fills the table for codes of the given lengths. It returns false for a set of lengths that is no code:
// one that has too many, or too few except for a single code of one bit. A set without any code is none that can
// be used, but it may stand there.
func build(table []entry, bits int, lengths []uint8, symbolEntry func(int) entry) bool {
	var count, next [maxCode + 2]int
	for _, n := range lengths {
		count[n]++
	}
	longest := maxCode
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	for i := range 1 << bits {
		table[i] = isSpecial
	}
	if longest == 0 {
		return true
	}
	count[0] = 0
	code := 0
	for n := 1; n <= longest; n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
	}
	if total := code + count[longest]; total != 1<<longest && (total != 1 || longest != 1) {
		return false
	}
	// Symbols by code, which is by length and then by symbol.
	var first [maxCode + 2]int
	for n := 1; n <= longest; n++ {
		first[n+1] = first[n] + count[n]
	}
	var sorted [maxLiterals]uint16
	for symbol, n := range lengths {
		if n > 0 {
			sorted[first[n]] = uint16(symbol)
			first[n]++
		}
	}
	sub := subtables{table: table, bits: bits, longest: longest, end: 1 << bits}
	i := 0
	for n := 1; n <= longest; n++ {
		for range count[n] {
			e, reversed := symbolEntry(int(sorted[i])), reverse(next[n], n)
			if n > bits {
				sub.add(e, reversed, n, count[:])
			} else {
				e = withBits(e, n)
				for k := reversed; k < 1<<bits; k += 1 << n {
					table[k] = e
				}
			}
			i++
			next[n]++
			count[n]--
		}
	}
	return true
}

// withBits completes an entry with the bits of its code that its table decides.
func withBits(e entry, n int) entry {
	if e&(isLiteral|isSpecial) == 0 {
		e |= entry(n) << 8
	}
	return e + entry(n)
}

// subtables adds tables for long codes behind the first one. Codes come in their order, so those with the same
// first bits come together.
type subtables struct {
	table         []entry
	bits, longest int
	prefix        int // of the present subtable, plus one
	start, end    int
	size          int // its bits
}

// add adds an entry; count is how many codes of each length there still are, this one included.
func (s *subtables) add(e entry, reversed, n int, count []int) {
	prefix := reversed & (1<<s.bits - 1)
	if prefix+1 != s.prefix {
		// As many bits as it takes until the codes that are left fill the table.
		s.prefix, s.start, s.size = prefix+1, s.end, n-s.bits
		for room := 1<<s.size - count[n]; room > 0 && s.bits+s.size < s.longest; {
			s.size++
			room = room<<1 - count[s.bits+s.size]
		}
		s.end += 1 << s.size
		s.table[prefix] = isSpecial | isLink | entry(s.start)<<16 | entry(s.size)<<8 | entry(s.bits)
	}
	e = withBits(e, n-s.bits)
	for k := reversed >> s.bits; k < 1<<s.size; k += 1 << (n - s.bits) {
		s.table[s.start+k] = e
	}
}

func reverse(code, n int) int {
	r := 0
	for range n {
		r = r<<1 | code&1
		code >>= 1
	}
	return r
}

package logs

import "encoding/binary"

// filter tells of most places in a text that no anchor begins there: a Bloom filter of the first bytes of all
// anchors, with two bits for each, both in one word.
type filter struct {
	words []uint64
	wide  bool // eight bytes of each anchor count, not four
}

// newFilter returns a filter for anchors of at least window bytes. Their number is at most that of forms, and
// is mostly half of that.
func newFilter(forms, window int) filter {
	const bitsPerForm = 10
	return filter{words: make([]uint64, forms*bitsPerForm/64+1), wide: window >= 8}
}

func (f *filter) add(text []byte) {
	word, bits := f.place(text)
	f.words[word] |= bits
}

// mayBegin reports whether an anchor may begin as text does.
func (f *filter) mayBegin(text []byte) bool {
	word, bits := f.place(text)
	return f.words[word]&bits == bits
}

// place returns the word in which text counts and its bits there, by multiplicative hashing.
func (f *filter) place(text []byte) (word, bits uint64) {
	var n uint64
	if f.wide {
		n = binary.LittleEndian.Uint64(text)
	} else {
		n = uint64(binary.LittleEndian.Uint32(text))
	}
	h := n * 0x9e3779b97f4a7c15
	g := (h ^ h>>32) * 0xd6e8feb86659fd93
	return (h >> 32) * uint64(len(f.words)) >> 32, 1<<(g>>58) | 1<<(g>>52&63)
}

package logs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// index finds where in a text a form of a secret may begin, by the first bytes of each form. What the rest of
// the form is, is made out when it is needed: for most secrets never. An entry takes 24 bytes and a
// form of a short secret is some dozen bytes, so 1 MB of secrets takes a few MB, where an automaton of
// all their forms took 2 GB.
type index struct {
	secrets []string
	anchors []anchor // sorted by their bytes
	heads   []uint32 // hash table: 1 + the first anchor whose first four bytes have the hash, or a later slot's; 0: none
	skip    skipTable
}

// anchor is the beginning of a form of a secret.
type anchor struct {
	start  [maxAnchor]byte // as a person reads it; bytes from n on are zero
	n      uint8
	form   form
	secret uint32
}

const (
	maxAnchor = 16
	headSize  = 4 // bytes by which anchors are looked up
)

func (a *anchor) text() []byte { return a.start[:a.n] }

// word is a part of start as a number, in the order of the bytes: no visible text has the NUL that fills it up.
func (a *anchor) word(at int) uint64 { return binary.BigEndian.Uint64(a.start[at:]) }

// source is a secret, or a line of one, and in which forms it is searched.
type source struct {
	text  string
	forms []form
}

// newIndex returns the index of secrets.
func newIndex(sources []source) *index {
	x := &index{}
	count := 0
	for _, s := range sources {
		count += len(s.forms)
	}
	x.secrets, x.anchors = make([]string, 0, len(sources)), make([]anchor, 0, count)
	var buf []byte
	for _, s := range sources {
		id := uint32(len(x.secrets))
		x.secrets = append(x.secrets, s.text)
		for _, f := range s.forms {
			a := anchor{form: f, secret: id}
			buf = f.beginning(buf[:0], s.text)
			if len(buf) < f.shortest() {
				continue
			}
			a.n = uint8(copy(a.start[:], buf))
			x.anchors = append(x.anchors, a)
		}
	}
	sortAnchors(x.anchors)
	x.skip = newSkipTable(x.anchors)
	x.hashHeads()
	return x
}

// beginning appends the first bytes of a form, as a person reads them: all of it, or at least maxAnchor.
func (f form) beginning(dst []byte, secret string) []byte {
	const enough = 24 // bytes of a secret of which each is a character that shows: a form has no fewer
	if len(secret) > enough && isPrintableASCII(secret[:enough]) {
		dst, _ = f.encode(dst, secret[:enough], 0)
		return dst
	}
	for from := 0; from < len(secret) && len(dst) < maxAnchor; {
		start := len(dst)
		dst, from = f.encode(dst, secret, from)
		dst = append(dst[:start], visibleBytes(dst[start:])...)
	}
	return dst
}

func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// sortAnchors sorts anchors by their bytes. They are spread by their first one before, for a sort
// of few is faster for each of them.
func sortAnchors(all []anchor) {
	var ends [256]int
	for i := range all {
		ends[all[i].start[0]]++
	}
	end := 0
	for b, n := range ends {
		ends[b], end = end, end+n
	}
	spread := make([]anchor, len(all))
	for _, a := range all {
		b := a.start[0]
		spread[ends[b]] = a
		ends[b]++
	}
	copy(all, spread)
	begin := 0
	for _, end := range ends {
		slices.SortFunc(all[begin:end], compareAnchors)
		begin = end
	}
}

func compareAnchors(a, b anchor) int {
	if x, y := a.word(0), b.word(0); x != y {
		return cmp.Compare(x, y)
	}
	if x, y := a.word(8), b.word(8); x != y {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a.n, b.n)
}

// shortest is the fewest bytes of a form that are searched: fewer would be found in ordinary text.
func (f form) shortest() int {
	if f >= base64First && f < percentFirst {
		return minBase64
	}
	return minSecret
}

func (x *index) hashHeads() {
	size := 4
	for size < 2*len(x.anchors) {
		size *= 2
	}
	x.heads = make([]uint32, size)
	for i := range x.anchors {
		start := x.anchors[i].start[:headSize]
		if i > 0 && bytes.Equal(start, x.anchors[i-1].start[:headSize]) {
			continue
		}
		slot := hashHead(start) & uint32(size-1)
		for x.heads[slot] != 0 {
			slot = (slot + 1) & uint32(size-1)
		}
		x.heads[slot] = uint32(i) + 1
	}
}

// hashHead is Fibonacci hashing of the first four bytes.
func hashHead(p []byte) uint32 {
	h := binary.LittleEndian.Uint32(p) * 0x9e3779b1
	return h ^ h>>15
}

// at returns the anchors that share their first four bytes with text.
func (x *index) at(text []byte) []anchor {
	mask := uint32(len(x.heads) - 1)
	for slot := hashHead(text) & mask; x.heads[slot] != 0; slot = (slot + 1) & mask {
		first := int(x.heads[slot] - 1)
		if !bytes.Equal(x.anchors[first].start[:headSize], text[:headSize]) {
			continue
		}
		rest := x.anchors[first:]
		return rest[:sort.Search(len(rest), func(i int) bool {
			return !bytes.Equal(rest[i].start[:headSize], text[:headSize])
		})]
	}
	return nil
}

// matches calls found with every anchor that text begins with. text has at least four bytes.
func (x *index) matches(text []byte, found func(*anchor)) {
	all := x.at(text)
	for n := headSize; n <= maxAnchor && n <= len(text) && len(all) > 0; n++ {
		// Anchors of n bytes stand in front of the longer ones that begin with them.
		for len(all) > 0 && int(all[0].n) == n {
			found(&all[0])
			all = all[1:]
		}
		if n == len(text) || n == maxAnchor {
			return
		}
		b := text[n]
		low := sort.Search(len(all), func(i int) bool { return all[i].start[n] >= b })
		all = all[low:]
		all = all[:sort.Search(len(all), func(i int) bool { return all[i].start[n] > b })]
	}
}

// begins reports whether text, of fewer bytes than an anchor may have, is the beginning of one that has more.
func (x *index) begins(text []byte) bool {
	i := sort.Search(len(x.anchors), func(i int) bool { return bytes.Compare(x.anchors[i].text(), text) > 0 })
	return i < len(x.anchors) && bytes.HasPrefix(x.anchors[i].text(), text)
}

// skipTable tells how far a search may jump while no anchor has begun (Wu and Manber, "A fast algorithm for
// multi-pattern searching", 1994, with blocks of two bytes).
//
// The measured reason: on log lines with 20 secrets a look at every byte runs at some 200 MB/s and with
// this table at 2 GB/s (BenchmarkMask).
type skipTable struct {
	window int            // bytes looked at: the shortest anchor
	shift  [1 << 16]uint8 // by the window's last two bytes: how far no anchor can start
}

func newSkipTable(anchors []anchor) skipTable {
	t := skipTable{window: maxAnchor}
	for i := range anchors {
		t.window = min(t.window, int(anchors[i].n))
	}
	for i := range t.shift {
		t.shift[i] = uint8(t.window - 1)
	}
	for i := range anchors {
		text := anchors[i].text()
		for end := 2; end <= t.window; end++ {
			pair := pairOf(text[end-2], text[end-1])
			t.shift[pair] = min(t.shift[pair], uint8(t.window-end))
		}
	}
	return t
}

// next returns the first position from i on at which an anchor may start: all positions before it cannot.
// When too few bytes are left to tell, it returns the first such position.
func (t *skipTable) next(buf []byte, i int) int {
	for i+t.window <= len(buf) {
		last := i + t.window - 1
		shift := int(t.shift[pairOf(buf[last-1], buf[last])])
		if shift == 0 {
			return i
		}
		i += shift
	}
	return i
}

func pairOf(a, b byte) uint16 { return uint16(a)<<8 | uint16(b) }

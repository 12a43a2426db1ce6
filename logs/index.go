package logs

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
)

// index finds where in a text a form of a secret may begin, by the first bytes of each form. What a form goes
// on with is made out when it is needed: for most secrets never. Forms of a secret that begin in the same
// way share an anchor. A secret of 20 bytes has some twenty anchors, which take eight bytes each and some
// two more in the filter; an automaton of all forms takes 2 kB for each byte of a secret.
type index struct {
	sources []source
	anchors []anchor    // sorted by the bytes of their forms
	kept    []beginning // of all anchors; nil if they are many, whose beginnings are made out again
	lengths uint32      // bit n: there are forms of n bytes, fewer than maxAnchor
	skip    skipTable
	filter  filter
}

// maxKept is up to how many anchors an index keeps their beginnings, which are larger than anchors: a text
// that is full of secrets is masked three times as fast.
const maxKept = 4096

// newIndex returns the index of secrets.
func newIndex(sources []source) *index {
	if len(sources) > 1<<secretBits {
		panic("logs: more secrets than an index can number") // to leave some out would show them
	}
	x := &index{sources: sources}
	b := &beginnings{}
	window, forms := maxAnchor, 0
	for i := range sources {
		s := &sources[i]
		forms += bits.OnesCount64(uint64(s.forms))
		if len(s.text) <= maxAnchor || !isPrintableASCII(s.text[:maxAnchor]) { // otherwise no form is shorter
			b.of(s)
			window = min(window, b.shortest())
		}
	}
	x.skip = newSkipTable(window)
	x.filter = newFilter(forms, window)
	const sample = 100 // secrets after which it is estimated how many anchors there will be
	for i := range sources {
		if i == sample {
			x.anchors = slices.Grow(x.anchors, len(x.anchors)*(len(sources)-sample)/sample*21/20)
		}
		b.of(&sources[i])
		x.add(i, b)
	}
	slices.Sort(x.anchors)
	x.sortRuns()
	if len(x.anchors) <= maxKept {
		kept := make([]beginning, len(x.anchors))
		for i := range kept {
			kept[i] = x.beginning(i)
		}
		x.kept = kept
	}
	return x
}

// add adds the anchors of a secret.
func (x *index) add(secret int, b *beginnings) {
	for i := range b.n {
		begin := &b.all[i]
		x.anchors = append(x.anchors, newAnchor(begin, secret, b.forms[i], b.shared.has(b.forms[i])))
		x.skip.add(begin)
		x.filter.add(begin.text[:])
		if begin.n < maxAnchor {
			x.lengths |= 1 << begin.n
		}
	}
}

// sortRuns sorts anchors with the same first four bytes by those that follow.
func (x *index) sortRuns() {
	type sortable struct {
		beginning
		anchor anchor
	}
	var room []sortable
	for low, high := 0, 0; low < len(x.anchors); low = high {
		high = x.runEnd(low)
		if high == low+1 {
			continue
		}
		room = slices.Grow(room[:0], high-low)
		for i := low; i < high; i++ {
			room = append(room, sortable{x.beginning(i), x.anchors[i]})
		}
		slices.SortFunc(room, func(a, b sortable) int { return a.compare(&b.beginning) })
		for i := range room {
			x.anchors[low+i] = room[i].anchor
		}
	}
}

// runEnd returns the end of the anchors that have the same first four bytes as the one at low.
func (x *index) runEnd(low int) int {
	key := x.anchors[low].key()
	rest := x.anchors[low+1:]
	if len(rest) == 0 || rest[0].key() != key {
		return low + 1
	}
	return low + 1 + sort.Search(len(rest), func(i int) bool { return rest[i].key() > key })
}

// beginning returns how the form of the anchor with a number begins.
func (x *index) beginning(i int) beginning {
	if x.kept != nil {
		return x.kept[i]
	}
	a := x.anchors[i]
	return a.form().beginning(x.sources[a.secret()].text)
}

// matches calls found with every anchor that text begins with, and how its form begins.
func (x *index) matches(text []byte, found func(anchor, *beginning)) {
	key := binary.BigEndian.Uint32(text)
	low, _ := slices.BinarySearch(x.anchors, anchor(key)<<32)
	if low == len(x.anchors) || x.anchors[low].key() != key {
		return
	}
	high := x.runEnd(low)
	for lengths := x.lengths | 1<<maxAnchor; lengths != 0; lengths &= lengths - 1 {
		n := bits.TrailingZeros32(lengths)
		if n > len(text) {
			return
		}
		var want beginning
		want.n = uint8(copy(want.text[:], text[:n]))
		i := low + sort.Search(high-low, func(i int) bool { b := x.beginning(low + i); return b.compare(&want) >= 0 })
		for ; i < high && x.beginning(i) == want; i++ {
			found(x.anchors[i], &want)
		}
	}
}

// begins reports whether text, of fewer bytes than an anchor may have, is the beginning of one that has more.
func (x *index) begins(text []byte) bool {
	var want beginning
	want.n = uint8(copy(want.text[:], text))
	key := want.key()
	i := sort.Search(len(x.anchors), func(i int) bool {
		a := x.anchors[i]
		if a.key() != key {
			return a.key() > key
		}
		b := x.beginning(i)
		return b.compare(&want) > 0
	})
	if i == len(x.anchors) {
		return false
	}
	b := x.beginning(i)
	return bytes.HasPrefix(b.text[:b.n], text)
}

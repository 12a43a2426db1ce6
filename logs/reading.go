package logs

import "slices"

// reading is the search in one stream of bytes.
type reading struct {
	buf    []byte
	lent   bool      // whether buf belongs to who wrote it; otherwise it is in room
	room   []byte    // reused
	seen   visible   // buf as a person reads it
	bare   unescaped // seen.text as it was before tools quoted it
	asIs   scan      // of seen.text
	quoted scan      // of bare.text
}

// cover notes a part of a stream as masked.
type cover func(start, end int)

// newReading returns the search in a stream that begins with buf.
func newReading(x *indexes, buf []byte) reading {
	return reading{
		buf: buf, bare: unescaped{run: -1},
		asIs: scan{index: x.visible}, quoted: scan{index: x.unescaped},
	}
}

// take adds what comes next to buf. An empty buf borrows it until keep or drop.
func (r *reading) take(next []byte) {
	if r.lent = len(r.buf) == 0; r.lent {
		r.buf = next
		return
	}
	r.room = append(r.buf, next...)
	r.buf = r.room
}

// keep makes buf the reading's own.
func (r *reading) keep() {
	if r.lent {
		r.room = append(r.room[:0], r.buf...)
		r.buf, r.lent = r.room, false
	}
}

// search reads what is new in buf and covers what is to be masked. With last, nothing comes behind it.
func (r *reading) search(last bool, cover cover) {
	r.seen.read(r.buf, last)
	r.bare.read(r.seen.text, last)
	r.asIs.search(r.seen.text, func(f match) {
		in := r.seen.span(f.start, f.end)
		cover(in.start, in.end)
	})
	found := r.foundBare(cover)
	r.quoted.search(r.bare.text, found)
	r.quoted.searchDetours(&r.bare, r.seen.text, last, found)
	if last {
		r.quoted.settle(r.bare.text, found)
	}
	for _, inside := range r.seen.hidden { // nobody sees it, and it is stored all the same
		hidden := newReading(&indexes{r.asIs.index, r.quoted.index}, r.buf[inside.start:inside.end])
		hidden.search(true, func(start, end int) { cover(inside.start+start, inside.start+end) })
	}
	r.seen.hidden = r.seen.hidden[:0]
}

// foundBare covers what is found in the unescaped text.
func (r *reading) foundBare(cover cover) found {
	return func(f match) {
		in, ok := r.bare.spanOf(r.seen.text, f)
		raw := r.seen.span(in.start, in.end)
		if ok && f.source.admits(r.seen.text[in.start:in.end], raw.end-raw.start) {
			cover(raw.start, raw.end)
		}
	}
}

// settle covers what is a secret as far as the stream goes, because what may go on is passed on: a match that only
// waits for what follows it, and one that ends with the run outside of ASCII at the end of the text.
func (r *reading) settle(cover cover) {
	u, found := &r.bare, r.foundBare(cover)
	r.quoted.settle(u.text, found)
	if u.run < 0 {
		return
	}
	ended := scan{index: r.quoted.index, next: r.quoted.next, open: slices.Clone(r.quoted.open), seen: r.quoted.seen}
	text, marks, detours := len(u.text), len(u.marks), slices.Clone(u.detours)
	u.add(other, u.run)
	ended.search(u.text, found)
	ended.searchDetours(u, r.seen.text, false, found)
	ended.settle(u.text, found)
	u.text, u.marks, u.detours = u.text[:text], u.marks[:marks], detours // the run may go on all the same
}

// held returns how much of buf can be passed on. idle says that nothing has come for a while.
func (r *reading) held(idle bool) int {
	hold := r.asIs.held(r.seen.text, r.seen.line, 0, idle)
	hold = min(hold, r.heldBare(idle))
	if hold >= len(r.seen.text) {
		return r.seen.raw
	}
	return r.seen.at(hold)
}

// heldBare is the place in the visible text from which on it may be the beginning of a secret that is quoted.
func (r *reading) heldBare(idle bool) int {
	text, pending := r.bare.text, 0
	if r.bare.run >= 0 {
		pending = 1
	}
	hold := r.quoted.held(text, r.bare.lineOf(r.seen.text, r.seen.line), pending, idle)
	if hold == len(text) && (idle || !r.bare.mayBegin(r.seen.text, r.quoted.index)) {
		hold = len(r.seen.text)
	} else {
		hold = r.bare.begin(r.seen.text, hold)
	}
	return r.quoted.heldDetour(&r.bare, r.seen.text, hold, r.seen.line, idle)
}

// drop drops buf[:n], and the text that no candidate needs. What stands behind the place needed in the visible text
// stays.
func (r *reading) drop(n, needed int) {
	r.room = append(r.room[:0], r.buf[n:]...)
	r.buf, r.lent = r.room, false
	bare, seen := r.quoted.keptFor(&r.bare, r.quoted.keep(r.bare.text), r.asIs.keep(r.seen.text))
	from := r.bare.begin(r.seen.text, bare)
	seen = min(seen, from, needed)
	r.quoted.drop(bare, seen)
	r.bare.drop(bare, from, seen)
	r.asIs.drop(seen, 0)
	r.seen.drop(seen, n)
}

package logs

import (
	"io"
	"slices"
)

// MaskWriter masks one byte stream; Mask.Writer makes it.
//
// It holds back only the bytes that may still become part of a secret: the longest suffix of the
// stream that begins one, without the part of it that is masked in any case. Time does not change that: a
// secret that is written letter by letter must not come out by waiting. There is one exception. A secret
// may go on behind the end of a line, where a tool has wrapped its base64; a line that happens to end like the
// beginning of a secret is held back when at least 4 bytes are alike, and only until Flush, so that a
// line is not kept from whoever waits for it.
type MaskWriter struct {
	w       io.Writer
	mask    *Mask
	indexes *indexes
	buf     []byte    // the bytes that are held back, then those of the current write
	seen    visible   // buf as a person reads it
	bare    unescaped // seen.text as it was before tools quoted it
	asIs    scan      // of seen.text
	quoted  scan      // of bare.text
	spans   []span    // masked parts of buf: in order, disjoint, not touching
	passed  int       // number of bytes of buf that have been passed on, masked
	masked  bool      // whether the last byte passed on was a masked one
	out     []byte
}

// span is a range of bytes, end not included.
type span struct{ start, end int }

// chunk is how much of a write is searched at once, so that buffers stay small and in the cache.
const chunk = 16 << 10

// Write takes the next bytes of the stream and passes on what is decided. It fails only when the
// writer below does; n then counts the bytes taken.
func (m *MaskWriter) Write(p []byte) (n int, err error) {
	m.renew()
	if m.indexes == nil {
		return m.w.Write(p)
	}
	for n < len(p) {
		part := p[n:min(n+chunk, len(p))]
		m.buf = append(m.buf, part...)
		n += len(part)
		m.search(false)
		hold := m.held(false)
		if len(m.buf)-hold > maxHeld && len(m.buf)-hold > maxQuoted*m.indexes.longest() {
			if err := m.giveUp(hold); err != nil {
				return n, err
			}
			continue
		}
		if err := m.release(hold); err != nil {
			return n, err
		}
	}
	return n, nil
}

// What is held back is bounded by so many bytes, or so many for each byte of the longest secret: a step
// could otherwise take all memory with the beginning of a secret and then only what is left out.
const (
	maxHeld   = 4 << 20
	maxQuoted = 16
)

// giveUp masks all that is held back, and begins anew behind it.
func (m *MaskWriter) giveUp(hold int) error {
	m.cover(hold, len(m.buf))
	err := m.release(len(m.buf))
	m.forgetAll()
	return err
}

// Flush passes on lines that are held back because a secret may go on behind them, and whatever the
// writer below holds back, if it is one that does.
func (m *MaskWriter) Flush() error {
	if m.indexes != nil && len(m.buf) > 0 {
		m.settle()
		if err := m.release(m.held(true)); err != nil {
			return err
		}
	}
	return flush(m.w)
}

// settle notes what is a secret as far as the stream goes, because what may go on is passed on: a match that only
// waits for what follows it, and one that ends with the run outside of ASCII at the end of the text.
func (m *MaskWriter) settle() {
	u, found := &m.bare, m.coverBare(&m.seen, &m.bare, 0)
	m.quoted.settle(u.text, found)
	if u.run < 0 {
		return
	}
	ended := scan{index: m.quoted.index, next: m.quoted.next, open: slices.Clone(m.quoted.open), seen: m.quoted.seen}
	text, marks, detours := len(u.text), len(u.marks), slices.Clone(u.detours)
	u.add(other, u.run)
	ended.search(u.text, found)
	ended.searchDetours(u, m.seen.text, false, found)
	ended.settle(u.text, found)
	u.text, u.marks, u.detours = u.text[:text], u.marks[:marks], detours // the run may go on all the same
}

// Close passes on what is held back. It does not close the writer below.
func (m *MaskWriter) Close() error {
	m.renew()
	if m.indexes == nil {
		return nil
	}
	m.search(true)
	err := m.release(len(m.buf))
	m.forgetAll()
	return err
}

// renew takes over secrets that were added: all that is held back is searched for them.
func (m *MaskWriter) renew() {
	if m.mask == nil {
		return
	}
	x := m.mask.indexes.Load()
	if x == m.indexes {
		return
	}
	m.indexes = x
	m.forgetAll()
	m.search(false)
}

// forgetAll makes the search begin anew at the beginning of buf.
func (m *MaskWriter) forgetAll() {
	m.seen, m.bare = visible{}, unescaped{run: -1}
	m.asIs, m.quoted = scan{index: m.indexes.visible}, scan{index: m.indexes.unescaped}
}

// search reads what is new in buf and notes the spans to mask. With last, nothing comes behind it.
func (m *MaskWriter) search(last bool) {
	m.seen.read(m.buf, last)
	m.bare.read(m.seen.text, last)
	m.asIs.search(m.seen.text, m.coverVisible(&m.seen, 0))
	coverBare := m.coverBare(&m.seen, &m.bare, 0)
	m.quoted.search(m.bare.text, coverBare)
	m.quoted.searchDetours(&m.bare, m.seen.text, last, coverBare)
	if last {
		m.quoted.settle(m.bare.text, coverBare)
	}
	for _, inside := range m.seen.hidden {
		m.searchHidden(inside)
	}
	m.seen.hidden = m.seen.hidden[:0]
}

// searchHidden masks the inside of a control string, which nobody sees and which is stored all the same.
func (m *MaskWriter) searchHidden(inside span) {
	v, u := visible{}, unescaped{run: -1}
	v.read(m.buf[inside.start:inside.end], true)
	u.read(v.text, true)
	asIs, quoted := scan{index: m.indexes.visible}, scan{index: m.indexes.unescaped}
	asIs.search(v.text, m.coverVisible(&v, inside.start))
	coverBare := m.coverBare(&v, &u, inside.start)
	quoted.search(u.text, coverBare)
	quoted.searchDetours(&u, v.text, true, coverBare)
	quoted.settle(u.text, coverBare)
}

// coverVisible notes what was found in a visible text, which buf[offset:] is read as.
func (m *MaskWriter) coverVisible(v *visible, offset int) found {
	return func(f match) {
		in := v.span(f.start, f.end)
		m.cover(offset+in.start, offset+in.end)
	}
}

// coverBare notes what was found in an unescaped text.
func (m *MaskWriter) coverBare(v *visible, u *unescaped, offset int) found {
	return func(f match) {
		in, ok := u.spanOf(v.text, f)
		raw := v.span(in.start, in.end)
		if ok && f.source.admits(v.text[in.start:in.end], raw.end-raw.start) {
			m.cover(offset+raw.start, offset+raw.end)
		}
	}
}

// held returns how much of buf can be passed on. idle says that nothing has come for a while.
func (m *MaskWriter) held(idle bool) int {
	hold := m.asIs.held(m.seen.text, m.seen.line, 0, idle)
	hold = min(hold, m.heldBare(idle))
	if hold >= len(m.seen.text) {
		return m.seen.raw
	}
	return m.seen.at(hold)
}

// heldBare is the place in the visible text from which on it may be the beginning of a secret that is quoted.
func (m *MaskWriter) heldBare(idle bool) int {
	text, pending := m.bare.text, 0
	if m.bare.run >= 0 {
		pending = 1
	}
	hold := m.quoted.held(text, m.bare.lineOf(m.seen.text, m.seen.line), pending, idle)
	if hold == len(text) && (idle || !m.bare.mayBegin(m.seen.text, m.quoted.index)) {
		hold = len(m.seen.text)
	} else {
		hold = m.bare.begin(m.seen.text, hold)
	}
	return m.quoted.heldDetour(&m.bare, m.seen.text, hold, m.seen.line, idle)
}

// cover notes a part of buf as masked.
func (m *MaskWriter) cover(start, end int) {
	start = max(start, 0) // its beginning may have been passed on
	last := len(m.spans)
	for last > 0 && m.spans[last-1].start > end {
		last--
	}
	first := last
	for first > 0 && m.spans[first-1].end >= start {
		first--
		start, end = min(start, m.spans[first].start), max(end, m.spans[first].end)
	}
	m.spans = slices.Replace(m.spans, first, last, span{start, end})
}

// release passes on buf[:n], with the rest of a span that goes on there, and keeps what is behind n.
func (m *MaskWriter) release(n int) error {
	end := n
	for _, s := range m.spans {
		if s.start <= n && n < s.end {
			end = s.end
		}
	}
	var err error
	if end > m.passed {
		if out := m.render(m.passed, end); len(out) > 0 {
			_, err = m.w.Write(out)
		}
	}
	m.passed = end - n
	if n > 0 {
		m.buf = m.buf[:copy(m.buf, m.buf[n:])]
		kept := m.spans[:0]
		for _, s := range m.spans {
			if s.end > n {
				kept = append(kept, span{max(s.start-n, 0), s.end - n})
			}
		}
		m.spans = kept
		m.forget(n)
	}
	return err
}

// forget drops the text that no candidate needs, after the first n bytes of buf have gone.
func (m *MaskWriter) forget(n int) {
	bare, seen := m.quoted.keptFor(&m.bare, m.quoted.keep(m.bare.text), m.asIs.keep(m.seen.text))
	from := m.bare.begin(m.seen.text, bare)
	seen = min(seen, from)
	m.quoted.drop(bare, seen)
	m.bare.drop(bare, from, seen)
	m.asIs.drop(seen, 0)
	m.seen.drop(seen, n)
}

// render returns buf[from:to] with what is masked replaced.
func (m *MaskWriter) render(from, to int) []byte {
	if len(m.spans) == 0 {
		m.masked = false
		return m.buf[from:to]
	}
	m.out = m.out[:0]
	for _, s := range m.spans {
		if s.start >= to || s.end <= from {
			continue
		}
		m.pass(from, s.start)
		if !m.masked {
			m.out = append(m.out, Replacement...)
			m.masked = true
		}
		from = min(s.end, to)
	}
	m.pass(from, to)
	return m.out
}

// pass renders buf[from:to] as it is.
func (m *MaskWriter) pass(from, to int) {
	if from < to {
		m.out = append(m.out, m.buf[from:to]...)
		m.masked = false
	}
}

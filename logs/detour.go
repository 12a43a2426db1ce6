package logs

import (
	"bytes"
	"slices"
)

// detour is an escape that may be none: a secret may begin in the middle of it. In `C:\beefs\"teak` the text `\be` could
// be the beginning of a number, and in `100%beef%2Fsteak` it is read as one. So a search looks at each place inside
// an escape as well: what stands there as it is, and then what follows the escape in the unescaped text.
type detour struct {
	from, to int  // in the visible text: the escape without backslashes in front; nothing in it begins another one
	text     int  // in the unescaped text: what follows the escape, or the run outside of ASCII that goes on behind it
	run      bool // whether the escape is inside of such a run
}

// maxDetour is how many bytes of an escape, up to its end, are looked at. Only percent signs that were escaped over
// and over take more.
const maxDetour = 64

// maxDetours is how many escapes wait for the text that follows them. Escapes that stand for what is left out, such as
// %20, bring none: a step could otherwise take all memory and time with them.
const maxDetours = 64

// addDetour notes an escape that has been read, from u.next to a place in the visible text.
func (u *unescaped) addDetour(visible []byte, to int) {
	if visible[to-1] == '\\' { // backslashes alone, which are left out one by one or together
		return
	}
	from := u.next
	for visible[from] == '\\' {
		from++
	}
	d := detour{from: max(from, to-maxDetour), to: to, text: len(u.text), run: u.run >= 0}
	if d.run {
		d.text++
	}
	u.detours = append(u.detours, d)
}

// before is how a text goes that begins at a place inside of an escape, until the unescaped text from d.text on.
func (d *detour) before(visible []byte, at int, dst []byte) []byte {
	dst = appendLiterally(dst[:0], visible[at:d.to])
	for next := d.to; d.run && next < len(visible); {
		c, n := unit(visible[next:], true)
		next += n
		if k := classes[c]; c == '\\' {
			continue
		} else if k == notASCII {
			return append(dst, other)
		} else if k != left {
			break
		}
	}
	return dst
}

// appendLiterally appends an escape, or its end, as the characters that it consists of. Its own may be escaped.
func appendLiterally(dst, escape []byte) []byte {
	for _, again := range []string{"%25", "&amp;"} {
		if hasPrefix(escape, again) {
			dst, escape = append(dst, again[0]), escape[len(again):]
			for hasPrefix(escape, again[1:]) {
				escape = escape[len(again)-1:]
			}
		}
	}
	return append(dst, bytes.TrimLeft(escape, `\`)...)
}

// searchDetours searches what may begin inside of escapes. Where too little follows yet, it looks again later. With
// last, nothing more follows.
func (s *scan) searchDetours(u *unescaped, visible []byte, last bool, found found) {
	var room [maxDetour + 1 + maxAnchor]byte
	pending := u.detours[:0]
	for _, d := range u.detours {
		most := maxAnchor
		if !last && len(u.text) < d.text+maxAnchor {
			pending = append(pending, d)
		}
		if len(u.text) < d.text { // a run goes on: of what begins in front of it, only what is whole is known
			most--
		}
		for at := d.from; at < d.to; {
			before := d.before(visible, at, room[:0])
			begin := append(before, u.text[min(len(u.text), d.text):min(len(u.text), d.text+maxAnchor)]...)
			at += s.searchDetour(&d, at, begin, len(before), most, u.text, found)
		}
	}
	u.detours = pending[:copy(pending, pending[max(0, len(pending)-maxDetours):])]
}

// searchDetour looks at places inside of an escape, the first of them at, and returns how many. begin is the text from
// there on, before bytes of which are inside of the escape. If the escape is itself escaped, what escapes it is not in
// begin, so that begin tells of one place only.
func (s *scan) searchDetour(d *detour, at int, begin []byte, before, most int, text []byte, found found) int {
	places := d.to - at
	if before < places { // what escapes the escape itself is left out
		places = 1
	}
	for i := 0; i < places; {
		part := begin[i:min(len(begin), i+most)]
		if len(part) < s.index.skip.window {
			break
		}
		if by := s.index.skip.jump(part, 0); by > 0 {
			i += by
			continue
		}
		if s.index.filter.mayBegin(part) {
			s.index.matches(part, func(a anchor, b *beginning) {
				s.detoured(a, b, d, at+i, begin[i:before], text, found)
			})
		}
		i++
	}
	return places
}

// detoured looks at the forms that begin as an anchor does, whose first bytes are inside of an escape.
func (s *scan) detoured(a anchor, b *beginning, d *detour, at int, before, text []byte, found found) {
	source, inside := &s.index.sources[a.secret()], at+1
	size := len(before)
	if b.n < maxAnchor {
		if source.isOpen {
			c := candidate{source: source, form: a.form(), inside: inside, start: d.text, from: len(source.text)}
			c.next = d.text + int(b.n) - size
			if c.next > c.start {
				s.beginOnce(c, text, found)
			}
			return
		}
		found(ending(source, inside, d, size, int(b.n)))
		return
	}
	for f := range s.formsOf(a, b).all {
		c := candidate{source: source, form: f, inside: inside}
		switch c.compare(before) {
		case goesOn:
			c.start, c.next = d.text, d.text
			s.beginOnce(c, text, found)
		case isWhole:
			found(ending(source, inside, d, size, c.next))
		}
	}
}

// beginOnce begins a candidate unless it is open already: the same place may be looked at several times.
func (s *scan) beginOnce(c candidate, text []byte, found found) {
	if !slices.ContainsFunc(s.open, c.isSame) {
		s.begin(c, text, found)
	}
}

// isSame reports whether another candidate is the same form at the same place.
func (c *candidate) isSame(as candidate) bool {
	return c.source == as.source && c.form == as.form && c.inside == as.inside && c.start == as.start
}

// ending is the match of a form of n bytes, the first of which are inside of an escape. size is how many are in
// front of the unescaped text from d.text on.
func ending(source *source, inside int, d *detour, size, n int) match {
	m := match{source: source, inside: inside, start: d.text, end: d.text + n - size}
	switch {
	case n <= d.to-(inside-1):
		m.stop = inside - 1 + n
	case m.end == m.start: // the run outside of ASCII is its end
		m.start--
	}
	return m
}

// heldDetour is the first place in the visible text that may be the beginning of a secret inside of an escape. limit is
// what is held back anyway; see scan.held.
func (s *scan) heldDetour(u *unescaped, visible []byte, limit, line int, idle bool) int {
	var room [maxDetour + 1 + maxAnchor]byte
	for _, c := range s.open {
		if c.inside > 0 && (!idle || line < c.inside) {
			limit = min(limit, c.inside-1)
		}
	}
	for i := range u.detours {
		d := &u.detours[i]
		for at := d.from; at < min(d.to, limit); at++ {
			begin := appendLiterally(room[:0], visible[at:d.to])
			if d.text <= len(u.text) {
				begin = append(d.before(visible, at, begin), u.text[d.text:min(len(u.text), d.text+maxAnchor)]...)
			}
			if at < line && (idle || len(begin) < minSecret) {
				continue
			}
			if s.index.begins(begin[:min(len(begin), maxAnchor-1)]) {
				limit = at
			}
		}
	}
	for at := max(u.next, line); at < min(len(visible), limit); at++ { // what may become an escape
		begin := appendLiterally(room[:0], visible[at:])
		if len(begin) > 0 && s.index.begins(begin[:min(len(begin), maxAnchor-1)]) {
			limit = at
		}
	}
	return limit
}

// keptFor returns the first places in the unescaped and in the visible text that detours need further on.
func (s *scan) keptFor(u *unescaped, text, visible int) (int, int) {
	for _, c := range s.open {
		if c.inside > 0 {
			visible = min(visible, c.inside-1)
		}
	}
	for i := range u.detours {
		d := &u.detours[i]
		needed := d.text
		if d.run {
			needed-- // the run, which a match may end with
		}
		text, visible = min(text, needed), min(visible, d.from)
	}
	return text, visible
}

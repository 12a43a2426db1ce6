package logs

// scan is the search of an index in a text that grows at its end and is dropped from its beginning.
type scan struct {
	index *index
	next  int         // where in the text the search for further candidates goes on
	open  []candidate // those that the text is too short for
	seen  int         // how much of the text has been searched: what ends there has been found before
}

// match is a form of a source that stands in a text.
type match struct {
	source     *source
	start, end int // the form is text[start:end]; with inside, only the part of it outside of an escape
	inside     int // 1 + the place in the visible text where it begins, if that is inside of an escape; 0 otherwise
	stop       int // the place in the visible text where it ends, if that is inside of the same escape; 0 otherwise
}

// found takes a match.
type found func(match)

// search looks at what is new in a text, at four parts of it at once. The measured reason: how far each may jump is
// read from memory, and the processor waits for all four at the same time.
func (s *scan) search(text []byte, found found) {
	if len(s.index.anchors) == 0 {
		s.next, s.seen = len(text), len(text)
		return
	}
	s.resume(text, found)
	t := &s.index.skip
	end := len(text) - t.window + 1 // from there on too little is left to tell
	part := max(end-s.next, 0) / 4
	a, b, c, d := s.next, s.next+part, s.next+2*part, s.next+3*part
	endA, endB, endC := b, c, d
	for a < endA && b < endB && c < endC && d < end {
		byA, byB, byC, byD := t.jump(text, a), t.jump(text, b), t.jump(text, c), t.jump(text, d)
		if byA == 0 {
			byA = s.look(text, a, found)
		}
		if byB == 0 {
			byB = s.look(text, b, found)
		}
		if byC == 0 {
			byC = s.look(text, c, found)
		}
		if byD == 0 {
			byD = s.look(text, d, found)
		}
		a, b, c, d = a+byA, b+byB, c+byC, d+byD
	}
	s.searchTo(text, a, endA, found)
	s.searchTo(text, b, endB, found)
	s.searchTo(text, c, endC, found)
	s.searchTo(text, d, end, found)
	s.next = max(s.next, len(text)-maxAnchor+1) // from there on a longer anchor may begin
	s.seen = len(text)
}

// searchTo looks at the places from i to end.
func (s *scan) searchTo(text []byte, i, end int, found found) {
	for i < end {
		by := s.index.skip.jump(text, i)
		if by == 0 {
			by = s.look(text, i, found)
		}
		i += by
	}
}

// look looks at a place where an anchor may begin, and returns how far it is to the next one.
func (s *scan) look(text []byte, i int, found found) int {
	if x := s.index; x.filter.mayBegin(text[i:]) {
		x.matches(text[i:min(i+maxAnchor, len(text))], func(a anchor, b *beginning) { s.anchored(a, b, i, text, found) })
	}
	return 1
}

// anchored looks at the forms that begin as the anchor at text[i:] does.
func (s *scan) anchored(a anchor, b *beginning, i int, text []byte, found found) {
	source := &s.index.sources[a.secret()]
	if b.n < maxAnchor { // it is the whole form
		end := i + int(b.n)
		switch {
		case end <= s.seen: // it has been looked at
		case source.isOpen:
			s.begin(candidate{source: source, form: a.form(), start: i, next: end, from: len(source.text)}, text, found)
		default:
			found(match{source: source, start: i, end: end})
		}
		return
	}
	for f := range s.formsOf(a, b).all {
		s.begin(candidate{source: source, form: f, start: i, next: i}, text, found)
	}
}

// formsOf returns the forms of an anchor's source that begin as b does.
func (s *scan) formsOf(a anchor, b *beginning) formSet {
	if a&isShared == 0 {
		return 1 << a.form()
	}
	source, forms := &s.index.sources[a.secret()], formSet(0)
	for f := range (source.forms & a.form().alike()).all {
		if f == a.form() || f.beginning(source.text) == *b {
			forms |= 1 << f
		}
	}
	return forms
}

// begin compares a candidate as far as the text goes, and keeps it if it goes on.
func (s *scan) begin(c candidate, text []byte, found found) {
	if len(s.open) == maxOpen {
		if end := min(len(text), c.start+brief); c.compare(text[:end]) != differs {
			c.next = end
			found(c.match())
		}
		return
	}
	switch c.compare(text) {
	case goesOn:
		s.open = append(s.open, c)
	case isWhole:
		found(c.match())
	}
}

// settle reports the candidates that only wait for what follows them.
func (s *scan) settle(text []byte, found found) {
	for _, c := range s.open {
		if c.waits(text) {
			found(c.match())
		}
	}
}

// resume goes on with candidates whose text has grown.
func (s *scan) resume(text []byte, found found) {
	still := s.open[:0]
	for _, c := range s.open {
		switch c.compare(text) {
		case goesOn:
			still = append(still, c)
		case isWhole:
			found(c.match())
		}
	}
	s.open = still
}

// held returns the place in a text from which on it may be the beginning of a match. line is where its last line
// begins, and pending how many bytes of it are known to come. With idle, nothing has come for a while: only what
// begins in that line is held back.
func (s *scan) held(text []byte, line, pending int, idle bool) int {
	hold := len(text)
	for i := range s.open {
		if start := s.open[i].start; !idle || line <= start {
			hold = min(hold, start)
		}
	}
	for start := max(0, len(text)-maxAnchor+1); start < hold; start++ {
		if start < line && (idle || len(text)+pending-start < minSecret) {
			continue
		}
		if s.index.begins(text[start:]) {
			hold = start
		}
	}
	return hold
}

// keep returns the first place of a text that is needed further on.
func (s *scan) keep(text []byte) int {
	keep := min(s.next, len(text))
	for i := range s.open {
		keep = min(keep, s.open[i].start)
	}
	return keep
}

// drop moves the search along when text[:n] is dropped, and with it what comes before a place in the visible text.
func (s *scan) drop(n, gone int) {
	s.next -= n
	s.seen -= n
	for i := range s.open {
		s.open[i].start -= n
		s.open[i].next -= n
		if s.open[i].inside > 0 {
			s.open[i].inside -= gone
		}
	}
}

package logs

// scan is the search of an index in a text that grows at its end and is dropped from its beginning.
type scan struct {
	index *index
	next  int         // where in the text the search for further candidates goes on
	open  []candidate // those that the text is too short for
	seen  int         // how much of the text has been searched: what ends there has been found before
}

// found is a match: text[start:end] is a form of the source.
type found func(source *source, start, end int)

// search looks at what is new in a text.
func (s *scan) search(text []byte, found found) {
	s.resume(text, found)
	x := s.index
	window := x.skip.window
	for i := x.skip.next(text, s.next); i+window <= len(text); i = x.skip.next(text, i+1) {
		if x.filter.mayBegin(text[i:]) {
			x.matches(text[i:min(i+maxAnchor, len(text))], func(a anchor, b *beginning) { s.anchored(a, b, i, text, found) })
		}
	}
	s.next = max(s.next, len(text)-maxAnchor+1) // from there on a longer anchor may begin
	s.seen = len(text)
}

// anchored looks at the forms that begin as the anchor at text[i:] does.
func (s *scan) anchored(a anchor, b *beginning, i int, text []byte, found found) {
	source := &s.index.sources[a.secret()]
	if b.n < maxAnchor { // it is the whole form
		if end := i + int(b.n); end > s.seen {
			found(source, i, end)
		}
		return
	}
	forms := formSet(1) << a.form()
	if a&isShared != 0 {
		forms = source.forms & a.form().alike()
	}
	for f := range forms.all {
		if f == a.form() || f.beginning(source.text) == *b {
			s.begin(candidate{source: source, form: f, start: i, next: i}, text, found)
		}
	}
}

// begin compares a candidate as far as the text goes, and keeps it if it goes on.
func (s *scan) begin(c candidate, text []byte, found found) {
	if len(s.open) == maxOpen {
		if end := min(len(text), c.start+brief); c.compare(text[:end]) != differs {
			found(c.source, c.start, end)
		}
		return
	}
	switch c.compare(text) {
	case goesOn:
		s.open = append(s.open, c)
	case isWhole:
		found(c.source, c.start, c.next)
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
			found(c.source, c.start, c.next)
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

// drop moves the search along when text[:n] is dropped.
func (s *scan) drop(n int) {
	s.next -= n
	s.seen -= n
	for i := range s.open {
		s.open[i].start -= n
		s.open[i].next -= n
	}
}

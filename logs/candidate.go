package logs

import "bytes"

// candidate is a place in a visible text where a form of a secret has begun, and how much of the form is
// compared so far. Each is compared once, however the stream is cut into writes.
type candidate struct {
	secret string
	form   form
	start  int    // where it begins in the text
	next   int    // where in the text the comparison goes on
	want   []byte // what the form goes on with
	from   int    // where in the secret the form goes on after want
}

type verdict int

const (
	differs verdict = iota
	goesOn          // the text ends before the form does
	isWhole
)

// compare compares a text with the form as far as the text goes.
func (c *candidate) compare(text []byte) verdict {
	for {
		n := min(len(c.want), len(text)-c.next)
		if !bytes.Equal(c.want[:n], text[c.next:c.next+n]) {
			return differs
		}
		c.want, c.next = c.want[n:], c.next+n
		switch {
		case len(c.want) > 0:
			return goesOn
		case c.from == len(c.secret):
			return isWhole
		}
		var encoded []byte
		encoded, c.from = c.form.encode(nil, c.secret, c.from)
		c.want = visibleBytes(encoded)
	}
}

// maxOpen bounds how many forms are compared at once. Only a secret that repeats itself, in a text that
// does the same, has more of them. From there on a text is masked that is like the first brief bytes of a
// form: to compare each to its end would take as long as the secret for every byte of the text.
const (
	maxOpen = 64
	brief   = 256
)

// search looks for secrets that begin in text[from:] and calls found with the place of each. It appends to
// open those that the text is too short for.
func (x *index) search(text []byte, from int, open []candidate, found func(start, end int)) []candidate {
	window := x.skip.window
	for i := x.skip.next(text, from); i+window <= len(text); i = x.skip.next(text, i+1) {
		if !x.filter.mayBegin(text[i:]) {
			continue
		}
		x.matches(text[i:min(i+maxAnchor, len(text))], func(a anchor, b *beginning) {
			if b.n < maxAnchor { // it is the whole form
				found(i, i+int(b.n))
				return
			}
			s := &x.sources[a.secret()]
			forms := formSet(1) << a.form()
			if a&isShared != 0 {
				forms = s.forms & a.form().alike()
			}
			for f := range forms.all {
				if f == a.form() || f.beginning(s.text) == *b {
					open = begin(open, candidate{secret: s.text, form: f, start: i, next: i}, text, found)
				}
			}
		})
	}
	return open
}

// begin compares a candidate as far as the text goes, and appends it to open if it goes on.
func begin(open []candidate, c candidate, text []byte, found func(start, end int)) []candidate {
	if len(open) == maxOpen {
		end := min(len(text), c.start+brief)
		if c.compare(text[:end]) != differs {
			found(c.start, end)
		}
		return open
	}
	switch c.compare(text) {
	case goesOn:
		open = append(open, c)
	case isWhole:
		found(c.start, c.next)
	}
	return open
}

// resume goes on with candidates whose text has grown, and returns those that still go on.
func resume(open []candidate, text []byte, found func(start, end int)) []candidate {
	still := open[:0]
	for _, c := range open {
		switch c.compare(text) {
		case goesOn:
			still = append(still, c)
		case isWhole:
			found(c.start, c.next)
		}
	}
	return still
}

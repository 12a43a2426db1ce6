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

// candidate begins the comparison with the form that an anchor at text[start:] is the beginning of.
func (x *index) candidate(a *anchor, start int) candidate {
	return candidate{secret: x.secrets[a.secret], form: a.form, start: start, next: start}
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
	for i := x.skip.next(text, from); i+headSize <= len(text); i = x.skip.next(text, i+1) {
		x.matches(text[i:min(i+maxAnchor, len(text))], func(a *anchor) {
			switch {
			case a.n < maxAnchor: // it is the whole form
				found(i, i+int(a.n))
				return
			case len(open) == maxOpen:
				end := min(len(text), i+brief)
				if c := x.candidate(a, i); c.compare(text[:end]) != differs {
					found(i, end)
				}
				return
			}
			c := x.candidate(a, i)
			switch c.compare(text) {
			case goesOn:
				open = append(open, c)
			case isWhole:
				found(c.start, c.next)
			}
		})
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

package logs

import "bytes"

// candidate is a place in a text where a form of a secret has begun, and how much of the form is
// compared so far. Each is compared once, however the stream is cut into writes.
type candidate struct {
	source *source
	form   form
	start  int    // where it begins in the text
	inside int    // as in a match
	next   int    // where in the text the comparison goes on
	want   []byte // what the form goes on with
	from   int    // where in the source the form goes on after want
}

// waits reports whether the form is whole, and only the byte is missing that an open one needs to tell what it is completed by.
func (c *candidate) waits(text []byte) bool {
	return c.source.isOpen && c.from == len(c.source.text) && len(c.want) == 0 && c.next == len(text)
}

// match is what has been compared.
func (c *candidate) match() match {
	return match{source: c.source, start: c.start, end: c.next, inside: c.inside}
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
		case c.from < len(c.source.text):
		case c.waits(text):
			return goesOn
		default:
			return isWhole
		}
		var encoded []byte
		encoded, c.from = c.form.encode(nil, c.source.text, c.from)
		c.want = c.form.searched(encoded)
	}
}

// maxOpen bounds how many forms are compared at once. Only a secret that repeats itself, in a text that
// does the same, has more of them. From there on a text is masked that is like the first brief bytes of a
// form: to compare each to its end would take as long as the secret for every byte of the text.
const (
	maxOpen = 64
	brief   = 256
)

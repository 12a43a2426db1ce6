package logs

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// visible is the text of a stream as a person reads it, with the way back from a place in it to the
// stream's bytes. Left out are control sequences and control characters, line ends too, and characters
// that have no width or order the text: all that a program puts into the middle of a word without changing
// how the word reads. Secrets are searched in it. Otherwise `grep --color`, a progress bar or a
// backspace would split one, and what shows the line without them would put it together again.
type visible struct {
	text []byte
	raw  int   // how many bytes of the stream have been read, beginning at its first byte
	cuts []cut // where something is left out, in order; the first one is the beginning of text
	line int   // the place in text of the last line end that is left out; 0 for none

	hidden []span     // of the stream: the insides of strings that terminals take for orders, such as hyperlinks
	dumped *dumpLines // lines that may be of a dump; nil if they do not matter
}

// cut says that text goes on at a place with a byte of the stream.
type cut struct{ text, raw int }

// read reads on in a stream, whose bytes are raw, until its end or the beginning of something that
// is not whole. With last, nothing comes behind raw.
func (v *visible) read(raw []byte, last bool) {
	if len(v.cuts) == 0 {
		v.cuts = append(v.cuts, cut{len(v.text), v.raw})
	}
	for v.raw < len(raw) {
		rest := raw[v.raw:]
		if n := plain(rest); n > 0 {
			v.text = append(v.text, rest[:n]...)
			v.raw += n
			continue
		}
		shown, left := v.next(rest, last)
		if shown+left == 0 {
			return
		}
		if shown > 0 {
			v.text = append(v.text, rest[:shown]...)
			v.raw += shown
			continue
		}
		v.raw += left
		if n := len(v.cuts); v.cuts[n-1].text == len(v.text) {
			v.cuts[n-1].raw = v.raw
		} else {
			v.cuts = append(v.cuts, cut{len(v.text), v.raw})
		}
	}
}

// next looks at what begins with a byte that is not plain: how many bytes are shown, or how many are left
// out; neither when that cannot be told yet.
func (v *visible) next(rest []byte, last bool) (shown, left int) {
	switch c := rest[0]; {
	case c == esc:
		return 0, v.sequence(rest, last)
	case c == '\n':
		v.line = len(v.text)
		if v.dumped != nil && (v.dumped.open >= 0 || mayBeginAddress(rest[1:])) {
			v.dumped.lineEnd(v.line, rest[1:])
		}
		return 0, 1
	case c < ' ' || c == 0x7f:
		return 0, 1
	case !last && !utf8.FullRune(rest[:min(len(rest), utf8.UTFMax)]):
		return 0, 0
	}
	r, size := utf8.DecodeRune(rest)
	if isInvisible(r) {
		return 0, size
	}
	return size, 0
}

// sequence returns the length of the control sequence that rest begins with, 1 if it is none, so that
// only its ESC is left out, and 0 if more must come to tell.
func (v *visible) sequence(rest []byte, last bool) int {
	end, more := sequenceOf(rest)
	switch {
	case more && !last && len(rest) < MaxLine:
		return 0
	case end == 0:
		return 1
	}
	if inside, ok := stringInside(rest[:end]); ok {
		v.hidden = append(v.hidden, span{v.raw + inside.start, v.raw + inside.end})
	}
	return end
}

// at is the place in the stream of the byte text[i].
func (v *visible) at(i int) int {
	c := v.cuts[v.cutOf(i)]
	return c.raw + i - c.text
}

// cutOf returns the number of the last cut at text[i] or before it.
func (v *visible) cutOf(i int) int {
	return sort.Search(len(v.cuts), func(n int) bool { return v.cuts[n].text > i }) - 1
}

// span is the part of the stream from the byte text[start] to the byte text[end-1].
func (v *visible) span(start, end int) span {
	n := v.cutOf(start)
	first := v.cuts[n]
	for n+1 < len(v.cuts) && v.cuts[n+1].text < end {
		n++
	}
	last := v.cuts[n]
	return span{first.raw + start - first.text, last.raw + end - last.text}
}

// drop forgets text[:n], and moves what is left so that the stream begins at its byte raw.
func (v *visible) drop(n, raw int) {
	v.raw -= raw
	v.line = max(v.line-n, 0)
	for i := range v.hidden {
		v.hidden[i].start -= raw
		v.hidden[i].end -= raw
	}
	if v.dumped != nil && v.dumped.open >= 0 {
		v.dumped.open -= n
	}
	kept := sort.Search(len(v.cuts), func(i int) bool { return v.cuts[i].text > n }) - 1
	if kept >= 0 {
		v.cuts = v.cuts[:copy(v.cuts, v.cuts[kept:])]
	}
	for i := range v.cuts {
		v.cuts[i].text -= n
		v.cuts[i].raw -= raw
	}
	v.text = v.text[:copy(v.text, v.text[n:])]
}

// visibleBytes is a whole text as a person reads it. It may be p itself.
func visibleBytes(p []byte) []byte {
	if plain(p) == len(p) {
		return p
	}
	var v visible
	v.read(p, true)
	return v.text
}

// shows reports whether at least n bytes of s show.
func shows(s string, n int) bool {
	return len(s) >= n && (isPrintableASCII(s[:n]) || len(visibleBytes([]byte(s))) >= n)
}

func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plain returns how many bytes p begins with that are shown as they are and need no closer look: printable
// ASCII, and most of what is outside of ASCII. The measured reason for looking at 32 bytes at once: every
// byte of every step passes here, and one at a time this took longer than the search itself.
func plain(p []byte) int {
	n := 0
	for n+32 <= len(p) {
		b := p[n : n+32 : n+32]
		if (unusual(b[0:8])|unusual(b[8:16])|unusual(b[16:24])|unusual(b[24:32]))&highBits != 0 {
			break
		}
		n += 32
	}
	for n < len(p) && (p[n] >= ' ' && p[n] < 0x7f || p[n] >= utf8.RuneSelf && !mayBeInvisible(p[n])) {
		n++
	}
	return n
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// unusual has the high bit of every byte set that is a control character or outside of ASCII.
func unusual(b []byte) uint64 {
	_ = b[7]
	w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56 // the compiler makes one load of it
	return w | (w - ' '*eachByte) | (w + eachByte)
}

// mayBeInvisible reports whether a byte begins the UTF-8 form of a character that isInvisible names.
func mayBeInvisible(b byte) bool { return b == 0xc2 || b == 0xe1 || b == 0xe2 || b == 0xef }

// isInvisible reports whether a character outside of ASCII shows nothing: C1 controls, soft hyphens, and
// characters of no width or that only order the text (Unicode's Default_Ignorable_Code_Point, those that are
// met in texts; and U+2028 and U+2029, which end lines).
func isInvisible(r rune) bool {
	switch {
	case r >= 0x80 && r < 0xa0, r == 0xad, r == 0x180e, r == 0xfeff:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r >= 0xfe00 && r <= 0xfe0f:
		return true
	}
	return false
}

// stringInside returns where the inside of a control string is, such as OSC 8, which makes a hyperlink of
// the address in it.
func stringInside(sequence []byte) (inside span, ok bool) {
	if len(sequence) < 3 || bytes.IndexByte([]byte("]PX^_"), sequence[1]) < 0 {
		return span{}, false
	}
	end := len(sequence) - 1
	if sequence[end] == '\\' {
		end--
	}
	return span{2, end}, end > 2
}

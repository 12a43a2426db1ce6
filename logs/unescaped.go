package logs

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// unescaped is a visible text without what tools put into a text when they quote it: JSON, XML, URLs, SQL, shells
// and programming languages, also one inside the other. A secret is found in it, its own text treated in the
// same way, however often and by whatever it was quoted.
//
//   - Backslashes, quotes and "$" are left out, and so are "+" and spaces: a space is "+" in a form of HTML,
//     and a line's end where a tool wraps words.
//   - \x41, \u0041, \U00000041, \101, %41, %u0041, &#65;, &#x41; and &lt; become the character, also where the
//     "%" or "&" is escaped itself.
//   - A run of characters outside of ASCII, escaped or not, becomes one byte, otherASCII: some tools write
//     their bytes, some their numbers.
type unescaped struct {
	text []byte
	from []uint32 // for each byte of text, where in the visible text its first character or escape begins
	next int      // where in the visible text reading goes on
	run  int      // where in the visible text a run outside of ASCII begins that may go on at next; -1 for none
}

// other stands for a run of characters outside of ASCII. No other byte of an unescaped text is outside of it.
const other = 0xff

// class says what an unescaped text takes of a byte.
type class uint8

const (
	left     class = iota // nothing
	kept                  // the byte
	begins                // what the escape stands for that may begin with it
	notASCII              // other
)

var classes = func() (all [256]class) {
	for b := range all {
		switch {
		case b >= utf8.RuneSelf:
			all[b] = notASCII
		case strings.IndexByte(`\%&`, byte(b)) >= 0:
			all[b] = begins
		case b > ' ' && b < 0x7f && strings.IndexByte("'\"`$+", byte(b)) < 0:
			all[b] = kept
		}
	}
	return all
}()

// unescape is a whole visible text, unescaped.
func unescape(visible []byte) []byte {
	u := unescaped{run: -1}
	u.read(visible, true)
	return u.text
}

// read reads on in a visible text until its end or the beginning of an escape that is not whole. With last,
// nothing comes behind it.
func (u *unescaped) read(visible []byte, last bool) {
	for u.next < len(visible) {
		if u.run < 0 {
			u.copyPlain(visible)
			if u.next == len(visible) {
				break
			}
		}
		c, n := unit(visible[u.next:], last)
		if n == 0 {
			return
		}
		for c == other && u.next+n < len(visible) && visible[u.next+n] >= utf8.RuneSelf {
			n++
		}
		switch k := classes[c]; {
		case k == notASCII && u.run < 0:
			u.run = u.next
		case k == kept || k == begins && c != '\\':
			u.endRun()
			u.text, u.from = append(u.text, c), append(u.from, uint32(u.next))
		}
		u.next += n
	}
	if last {
		u.endRun()
	}
}

// copyPlain reads what begins no escape and is in ASCII. The measured reason for the loop without branches: every
// byte of every step passes here.
func (u *unescaped) copyPlain(visible []byte) {
	rest := visible[u.next:]
	have := len(u.text)
	text := slices.Grow(u.text, len(rest))[:have+len(rest)]
	from := slices.Grow(u.from, len(rest))[:have+len(rest)]
	to, places := text[have:], from[have:]
	n, j := 0, 0
	for n < len(rest) && j < len(to) && j < len(places) {
		k := classes[rest[n]]
		if k >= begins {
			break
		}
		to[j], places[j] = rest[n], uint32(u.next+n)
		j += int(k)
		n++
	}
	u.text, u.from, u.next = text[:have+j], from[:have+j], u.next+n
}

// endRun ends a run outside of ASCII.
func (u *unescaped) endRun() {
	if u.run >= 0 {
		u.text, u.from = append(u.text, other), append(u.from, uint32(u.run))
		u.run = -1
	}
}

// span returns where in the visible text text[start:end] stands.
func (u *unescaped) span(visible []byte, start, end int) span {
	at := int(u.from[end-1])
	_, n := unit(visible[at:], true)
	stop := at + n
	if u.text[end-1] == other { // its end is that of its last character
		limit := u.next
		if end < len(u.text) {
			limit = int(u.from[end])
		}
		for at = stop; at < limit; at += n {
			c := byte(0)
			if c, n = unit(visible[at:limit], true); classes[c] == notASCII {
				stop = at + n
			}
		}
	}
	return span{int(u.from[start]), stop}
}

// place returns the first place in text that stands at or behind a place in the visible text.
func (u *unescaped) place(visible int) int {
	return sort.Search(len(u.from), func(i int) bool { return int(u.from[i]) >= visible })
}

// mayBegin reports whether a match may begin with what is not decided yet: an escape, or a run outside of ASCII.
func (u *unescaped) mayBegin(visible []byte, x *index) bool {
	return u.next < len(visible) || u.run >= 0 && x.begins([]byte{other})
}

// begin is the first place in the visible text that text[i:] and what is pending are made from.
func (u *unescaped) begin(i int) int {
	switch {
	case i < len(u.from):
		return int(u.from[i])
	case u.run >= 0:
		return u.run
	}
	return u.next
}

// drop forgets text[:n], and visible[:gone] with it.
func (u *unescaped) drop(n, gone int) {
	u.text = u.text[:copy(u.text, u.text[n:])]
	u.from = u.from[:copy(u.from, u.from[n:])]
	for i := range u.from {
		u.from[i] -= uint32(gone)
	}
	u.next -= gone
	if u.run >= 0 {
		u.run -= gone
	}
}

// maxUnit bounds how long an escape can be.
const maxUnit = 64

// unit returns what a text begins with, a character or an escape, and its length, 0 if more of it must come to
// tell. For what is left out it returns a byte that is left out, for what is not ASCII other.
func unit(text []byte, last bool) (c byte, n int) {
	last = last || len(text) >= maxUnit
	switch text[0] {
	case '\\':
		return backslashed(text, last)
	case '%':
		n = 1
		for hasPrefix(text[n:], "25") {
			n += 2
		}
		return code(text, n, last, []numeral{{"u", 4, 16}, {"U", 4, 16}, {"", 2, 16}}, '%')
	case '&':
		n = 1
		for hasPrefix(text[n:], "amp;") {
			n += 4
		}
		return entity(text, n, last)
	}
	if text[0] >= utf8.RuneSelf {
		return other, 1
	}
	return text[0], 1
}

func hasPrefix(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && string(text[:len(prefix)]) == prefix
}

// backslashed is unit for a run of backslashes.
func backslashed(text []byte, last bool) (c byte, n int) {
	for n < len(text) && text[n] == '\\' && n < maxUnit/2 {
		n++
	}
	if n == len(text) && !last {
		return 0, 0
	}
	if n < len(text) && text[n] >= '0' && text[n] <= '3' {
		return code(text, n, last, []numeral{{"", 3, 8}}, '\\')
	}
	return code(text, n, last, []numeral{{"x", 2, 16}, {"u", 4, 16}, {"U", 8, 16}}, '\\')
}

// numeral is how an escape goes on: a prefix and a number of digits.
type numeral struct {
	prefix string
	digits int
	base   int
}

// code returns the character whose number stands at text[n:] in one of the ways, or otherwise what text[:n] is.
func code(text []byte, n int, last bool, ways []numeral, otherwise byte) (byte, int) {
	for _, way := range ways {
		rest := text[n:]
		p := min(len(rest), len(way.prefix))
		if string(rest[:p]) != way.prefix[:p] {
			continue
		}
		digits := rest[p:min(len(rest), p+way.digits)]
		if !allDigits(digits, way.base) {
			continue
		}
		if len(digits) < way.digits {
			if !last {
				return 0, 0
			}
			continue
		}
		number, _ := strconv.ParseUint(string(digits), way.base, 32)
		return characterOf(number), n + p + way.digits
	}
	return otherwise, n
}

func allDigits(text []byte, base int) bool {
	for _, c := range text {
		d := 99
		switch {
		case c >= '0' && c <= '9':
			d = int(c - '0')
		case lower(c) >= 'a' && lower(c) <= 'f':
			d = int(lower(c)-'a') + 10
		}
		if d >= base {
			return false
		}
	}
	return true
}

func characterOf(number uint64) byte {
	if number >= utf8.RuneSelf {
		return other
	}
	return byte(number)
}

// entity is unit for a reference to a character in HTML or XML whose name stands at text[n:].
func entity(text []byte, n int, last bool) (byte, int) {
	rest := text[n:]
	end := 0
	for end < len(rest) && end < 10 && (rest[end] == '#' || isWordRune(rune(rest[end])) && rest[end] < utf8.RuneSelf) {
		end++
	}
	switch {
	case end == len(rest) && end < 10 && !last:
		return 0, 0
	case end == len(rest) || rest[end] != ';':
		return '&', n
	}
	name := string(rest[:end])
	switch name {
	case "lt":
		return '<', n + end + 1
	case "gt":
		return '>', n + end + 1
	case "quot", "apos", "nbsp":
		return '"', n + end + 1
	}
	digits, isNumber := strings.CutPrefix(name, "#")
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "x"); ok {
		digits, base = hex, 16
	}
	number, err := strconv.ParseUint(digits, base, 32)
	if !isNumber || err != nil {
		return '&', n
	}
	return characterOf(number), n + end + 1
}

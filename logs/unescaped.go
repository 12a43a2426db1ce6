package logs

import (
	"bytes"
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
	text  []byte
	marks []mark // in order; between one and the next, every byte of the visible text is kept or left out
	next  int    // where in the visible text reading goes on
	run   int    // where in the visible text a run outside of ASCII begins that may go on at next; -1 for none

	detours []detour // escapes inside of which no search has looked, in order
}

// mark says that text goes on at a place with what stands at a place in the visible text.
type mark struct{ text, visible uint32 }

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
		case strings.IndexByte(escapes, byte(b)) >= 0:
			all[b] = begins
		case b > ' ' && b < 0x7f && strings.IndexByte("'\"`$+", byte(b)) < 0:
			all[b] = kept
		}
	}
	return all
}()

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
		escape := n
		for c == other && u.next+n < len(visible) && visible[u.next+n] >= utf8.RuneSelf {
			n++
		}
		switch k := classes[c]; {
		case k == notASCII && u.run < 0:
			u.run = u.next
		case k == kept || k == begins && c != '\\':
			u.endRun()
			u.add(c, u.next)
		}
		if escape > 1 {
			u.addDetour(visible, u.next+escape)
		}
		u.next += n
	}
	if last {
		u.endRun()
	}
}

// add adds a byte that stands for what begins at a place in the visible text.
func (u *unescaped) add(c byte, visible int) {
	u.marks = append(u.marks, mark{uint32(len(u.text)), uint32(visible)})
	u.text = append(u.text, c)
}

// copyPlain reads what begins no escape and is in ASCII.
func (u *unescaped) copyPlain(visible []byte) {
	rest := len(visible) - u.next
	u.text = slices.Grow(u.text, rest+8)
	u.marks = slices.Grow(u.marks, rest/8+1)
	text, n, have := u.text[:cap(u.text)], u.next, len(u.marks)
	j, n, blocks := pack(text, len(u.text), visible, n, u.marks[have:have+rest/8])
	u.marks = append(u.marks[:have+blocks], mark{uint32(j), uint32(n)})
	for n < len(visible) && j < len(text) {
		k := classes[visible[n]]
		if k >= begins {
			break
		}
		text[j] = visible[n]
		j += int(k)
		n++
	}
	u.text, u.next = text[:j], n
}

// endRun ends a run outside of ASCII.
func (u *unescaped) endRun() {
	if u.run >= 0 {
		u.add(other, u.run)
		u.run = -1
	}
}

// from returns where in the visible text the character or the escape begins that text[i] stands for.
func (u *unescaped) from(visible []byte, i int) int { return u.behind(u.markOf(i), visible, i) }

// markOf returns the number of the last mark at text[i] or before it.
func (u *unescaped) markOf(i int) int {
	return sort.Search(len(u.marks), func(m int) bool { return int(u.marks[m].text) > i }) - 1
}

// behind is from for text[i] at a mark or behind it. Its time is in proportion to how far behind that is.
func (u *unescaped) behind(m int, visible []byte, i int) int {
	for m+1 < len(u.marks) && int(u.marks[m+1].text) <= i {
		m++
	}
	at := int(u.marks[m].visible)
	for more := i - int(u.marks[m].text); ; at++ {
		if classes[visible[at]] != left {
			if more == 0 {
				return at
			}
			more--
		}
	}
}

// span returns where in the visible text text[start:end] stands.
func (u *unescaped) span(visible []byte, start, end int) span {
	m := u.markOf(start)
	at := u.behind(m, visible, end-1)
	_, n := unit(visible[at:], true)
	stop := at + n
	if u.text[end-1] == other { // its end is that of its last character
		limit := u.next
		if end < len(u.text) {
			limit = u.behind(m, visible, end)
		}
		for at = stop; at < limit; at += n {
			c := byte(0)
			if c, n = unit(visible[at:limit], true); classes[c] == notASCII {
				stop = at + n
			}
		}
	}
	return span{u.behind(m, visible, start), stop}
}

// spanOf returns where in the visible text a match stands. ok is false if the source is open and no escape follows.
func (u *unescaped) spanOf(visible []byte, f match) (in span, ok bool) {
	ok = true
	switch {
	case f.stop > 0:
		in.end = f.stop
	default:
		in = u.span(visible, f.start, f.end)
	}
	if f.inside > 0 {
		in.start = f.inside - 1
	}
	if f.source.isOpen {
		n := completed(visible[in.end:])
		in.end += n
		ok = n > 0 || u.text[f.end-1] == other // the escape may be the end of the run outside of ASCII
	}
	return in, ok
}

// completed returns where the escape ends that a visible text begins with, after what is left out, or the beginning of
// one; 0 if there is none. What is left out may be an escape itself, and may be that one.
func completed(visible []byte) (end int) {
	for at := 0; at < len(visible); {
		c, n := unit(visible[at:], false)
		if n == 0 {
			return len(visible)
		}
		isEscape := n > 1 && visible[at+n-1] != '\\'
		at += n
		if isEscape {
			end = at
		}
		if c != '\\' && classes[c] != left {
			break
		}
	}
	return end
}

// place returns the first place in text that stands at or behind a place in the visible text.
func (u *unescaped) place(visible []byte, at int) int {
	m := sort.Search(len(u.marks), func(m int) bool { return int(u.marks[m].visible) >= at })
	limit := len(u.text)
	if m < len(u.marks) {
		limit = int(u.marks[m].text)
	}
	if m == 0 {
		return limit
	}
	i := int(u.marks[m-1].text)
	for before := int(u.marks[m-1].visible); before < at && i < limit; before++ {
		if classes[visible[before]] != left {
			i++
		}
	}
	return i
}

// lineOf returns the first place in text that a line of the visible text has a part of. An escape can begin in the
// line before: a backslash at its end is one with those that the line begins with.
func (u *unescaped) lineOf(visible []byte, line int) int {
	i := u.place(visible, line)
	if i > 0 && u.span(visible, i-1, i).end > line {
		i--
	}
	return i
}

// mayBegin reports whether a match may begin with what is not decided yet: an escape, or a run outside of ASCII.
func (u *unescaped) mayBegin(visible []byte, x *index) bool {
	return u.next < len(visible) || u.run >= 0 && x.begins([]byte{other})
}

// begin is the first place in the visible text that text[i:] and what is pending are made from.
func (u *unescaped) begin(visible []byte, i int) int {
	switch {
	case i < len(u.text):
		return u.from(visible, i)
	case u.run >= 0:
		return u.run
	}
	return u.next
}

// drop forgets text[:n], which the visible text up to the place from stands for, and visible[:gone] with it.
func (u *unescaped) drop(n, from, gone int) {
	if gone == 0 && n == 0 { // much may be held back, of which each write would move the marks
		return
	}
	kept := sort.Search(len(u.marks), func(m int) bool { return int(u.marks[m].text) > n })
	if kept > 0 && n < len(u.text) {
		kept--
		u.marks[kept] = mark{uint32(n), uint32(from)}
	}
	u.marks = u.marks[:copy(u.marks, u.marks[kept:])]
	for i := range u.marks {
		u.marks[i].text -= uint32(n)
		u.marks[i].visible -= uint32(gone)
	}
	u.text = u.text[:copy(u.text, u.text[n:])]
	u.next -= gone
	if u.run >= 0 {
		u.run -= gone
	}
	for i := range u.detours {
		d := &u.detours[i]
		d.from, d.to, d.text = d.from-gone, d.to-gone, d.text-n
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
		c, end := code(text, n, last, []numeral{{"u", 4, 16}, {"U", 4, 16}, {"", 2, 16}}, '%')
		return again(text, c, n, end, last)
	case '&':
		return entity(text, 1, last)
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
	return numbered(text, n, last)
}

// numbered is unit for text[:n], which is a backslash, and what it escapes.
func numbered(text []byte, n int, last bool) (c byte, end int) {
	if n < len(text) && text[n] >= '0' && text[n] <= '3' {
		c, end = code(text, n, last, []numeral{{"", 3, 8}}, '\\')
	} else {
		c, end = code(text, n, last, []numeral{{"x", 2, 16}, {"u", 4, 16}, {"U", 8, 16}}, '\\')
	}
	return again(text, c, n, end, last)
}

// again is unit for an escape text[:end] that stands for c, if that is what another escape begins with: Go writes the
// HTML &lt; as \u0026lt; in JSON, and in a URL it is %26lt%3B, as the JSON \u003c is %5Cu003c.
func again(text []byte, c byte, begin, end int, last bool) (byte, int) {
	switch {
	case end > begin && c == '&' && text[0] == '%':
		return entityInURL(text, end, last)
	case end > begin && c == '&':
		return entity(text, end, last)
	case end > begin && c == '\\' && end < maxUnit/2:
		if end == len(text) && !last {
			return 0, 0
		}
		return numbered(text, end, last)
	}
	return c, end
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

// beginsEntity reports whether a text may be the beginning of what follows the "&" of an entity.
func beginsEntity(text string) bool {
	for _, name := range []string{"lt;", "gt;", "quot;", "apos;", "nbsp;", "amp;"} {
		if strings.HasPrefix(name, text) {
			return true
		}
	}
	number := strings.TrimPrefix(strings.ToLower(text), "#")
	if hex, ok := strings.CutPrefix(number, "x"); ok {
		return allDigits([]byte(hex), 16)
	}
	return number != strings.ToLower(text) && allDigits([]byte(number), 10)
}

// entityInURL is entity for one in a URL, where "#" and ";" are escaped.
func entityInURL(text []byte, n int, last bool) (byte, int) {
	last = last || len(text) >= maxUnit
	inner, places, isOpen := []byte{'&'}, []int{n}, true
	for at := n; isOpen && at < min(len(text), maxUnit); {
		c, size := text[at], 1
		if c == '%' {
			percent := 1
			for hasPrefix(text[at+percent:], "25") {
				percent += 2
			}
			if c, size = code(text[at:], percent, last, []numeral{{"", 2, 16}}, '%'); size == 0 {
				break
			}
		}
		at += size
		inner, places = append(inner, c), append(places, at)
		isOpen = c == '#' || c < utf8.RuneSelf && isWordRune(rune(c)) || bytes.HasSuffix(inner, []byte("amp;"))
	}
	c, end := entity(inner, 1, last || !isOpen)
	if end == 0 {
		return 0, 0
	}
	return c, places[end-1]
}

// entity is unit for a reference to a character in HTML or XML whose "&" is text[:n]. It may be escaped itself.
func entity(text []byte, n int, last bool) (byte, int) {
	for hasPrefix(text[n:], "amp;") {
		n += 4
	}
	rest := text[n:]
	end := 0
	for end < len(rest) && end < 10 && (rest[end] == '#' || isWordRune(rune(rest[end])) && rest[end] < utf8.RuneSelf) {
		end++
	}
	switch {
	case end == len(rest) && end < 10 && !last && beginsEntity(string(rest)):
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

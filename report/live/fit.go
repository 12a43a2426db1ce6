package live

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
	"github.com/morikuni/aec"
)

const tabStop = 8

// fit cuts a line at a width in columns. The line's control sequences may only be colours; fit
// resets them at the end. A character counts as wide as the terminal that shows it widest: a
// line must never continue in the next row.
func fit(line string, columns int) string {
	if isShort(line, columns) {
		return line
	}
	var b strings.Builder
	at := 0
	graphemes := displaywidth.Options{ControlSequences: true}.StringGraphemes(line)
	for graphemes.Next() {
		text, w := graphemes.Value(), 0
		switch {
		case text == "\t":
			w = tabStop - at%tabStop
			text = strings.Repeat(" ", w)
		case text[0] != '\x1b':
			w = widest(text, graphemes.Width())
		}
		if at+w > columns {
			break
		}
		at += w
		b.WriteString(text)
	}
	if strings.Contains(line, "\x1b") {
		b.WriteString(aec.Reset)
	}
	return b.String()
}

// isShort reports whether a line is printable ASCII, as most lines are, and fits.
func isShort(line string, columns int) bool {
	if len(line) > columns {
		return false
	}
	for i := range len(line) {
		if line[i] < ' ' || line[i] > '~' {
			return false
		}
	}
	return true
}

// widest is the width of a grapheme, or its width on a terminal that does not know graphemes
// if that is more.
func widest(grapheme string, width int) int {
	sum := 0
	for _, r := range grapheme {
		sum += displaywidth.Rune(r)
	}
	return max(sum, width)
}

// width is the width in columns of a line that fit has returned.
func width(line string) int {
	sum := 0
	graphemes := displaywidth.Options{ControlSequences: true}.StringGraphemes(line)
	for graphemes.Next() {
		if text := graphemes.Value(); text[0] != '\x1b' {
			sum += widest(text, graphemes.Width())
		}
	}
	return sum
}

// aligned puts right at the right edge, and cuts left if both do not fit.
func aligned(left, right string, columns int) string {
	room := columns - width(right) - 1
	if room < 1 {
		return fit(left, columns)
	}
	left = fit(left, room)
	return left + strings.Repeat(" ", room-width(left)+1) + right
}

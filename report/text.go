package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stepexec/stepexec/logs"
)

// plain removes from the text of a step whatever only a terminal understands: escape
// sequences, control characters except tabs, and characters that XML 1.0 does not have.
// Characters that make the text around them read like another one are written out. Of text
// that carriage returns overwrite, it keeps the last, as a terminal does.
func plain(text string) string {
	text = overwritten(text, false)
	if isPlain(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := escapeLength(text[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		i += n
		switch {
		case logs.Misleads(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '\t' || isXML(r) && !unicode.IsControl(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteByte(' ')
		case r >= 0x80: // without a replacement, the text would read like something else
			b.WriteRune(utf8.RuneError)
		}
	}
	return b.String()
}

// isPlain reports whether a text is printable ASCII.
func isPlain(text string) bool { return logs.Printable(text) == len(text) }

// escapeLength is the length in bytes of the escape sequence at the beginning of a text
// (ECMA-48: CSI, the strings OSC, DCS, SOS, PM and APC, and the short ones); 0: there is none.
func escapeLength(text string) int {
	if text[0] != 0x1b {
		return 0
	}
	if len(text) == 1 {
		return 1
	}
	switch c := text[1]; c {
	case '[':
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1
			}
			if text[i] < 0x20 || text[i] > 0x3f {
				return i
			}
		}
		return len(text)
	case ']', 'P', 'X', '^', '_':
		for i := 2; i < len(text); i++ {
			if text[i] == 0x07 {
				return i + 1
			}
			if text[i] == 0x1b {
				if strings.HasPrefix(text[i:], "\x1b\\") {
					return i + 2
				}
				return i
			}
		}
		return len(text)
	default:
		if c < 0x20 || c > 0x7e {
			return 1
		}
		for i := 1; i < len(text); i++ { // ESC, intermediates, final
			if text[i] < 0x20 || text[i] > 0x2f {
				return min(i+1, len(text))
			}
		}
		return len(text)
	}
}

// isXML reports whether XML 1.0 has a character (section 2.2).
func isXML(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
}

// cut shortens a text to at most so many bytes, without cutting a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

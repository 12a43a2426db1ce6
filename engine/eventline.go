package engine

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendLine appends a Line event and a newline, as encoding/json would write it without escaping for HTML. The
// measured reason: a step may print millions of lines, and this takes a sixth of the time (BenchmarkLine of
// package record).
func AppendLine(to []byte, e Event) []byte {
	to = append(to, `{"time":"`...)
	to = e.Time.AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","kind":"line"`...)
	to = appendText(to, `,"cell":`, e.Cell)
	to = appendText(to, `,"step":`, e.Step)
	to = appendText(to, `,"stream":`, e.Stream)
	to = appendText(to, `,"text":`, e.Text)
	if e.Partial {
		to = append(to, `,"partial":true`...)
	}
	return append(to, "}\n"...)
}

// appendText appends a field with a text, unless that is empty.
func appendText(to []byte, field, text string) []byte {
	if text == "" {
		return to
	}
	to = append(append(to, field...), '"')
	if isPlain(text) {
		to = append(to, text...)
	} else {
		to = appendEscaped(to, text)
	}
	return append(to, '"')
}

// appendEscaped appends the inside of a JSON string (RFC 8259, section 7). Bytes that are not UTF-8 become
// U+FFFD.
func appendEscaped(to []byte, text string) []byte {
	const named, names = "\"\\\b\f\n\r\t", `"\bfnrt`
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch at := strings.IndexRune(named, r); {
		case r == utf8.RuneError && size == 1:
			to = append(to, `\ufffd`...)
		case at >= 0 && r != utf8.RuneError:
			to = append(to, '\\', names[at])
		case r < ' ' || r == '\u2028' || r == '\u2029':
			to = fmt.Appendf(to, `\u%04x`, r)
		default:
			to = append(to, text[i:i+size]...)
		}
		i += size
	}
	return to
}

// isPlain reports whether a text is the same in JSON.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

package event

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// LineEncoder writes Line events as an Encoder does. A step may print
// millions of lines, and this takes a tenth of the time (BenchmarkLine of package record). It keeps
// the beginning of the line, which all lines of one read share: formatting the time alone took half
// of the remaining time.
type LineEncoder struct {
	head []byte // everything before the text of the last event
	of   Event  // time, cell, step and stream of the last event
}

// Append appends a Line event and a newline.
func (l *LineEncoder) Append(to []byte, e *Event) []byte {
	if l.head == nil || l.of.Time != e.Time || l.of.Step != e.Step || l.of.Stream != e.Stream || l.of.Cell != e.Cell {
		l.of = Event{Time: e.Time, Cell: e.Cell, Step: e.Step, Stream: e.Stream}
		l.head = append(l.head[:0], `{"time":"`...)
		l.head = e.Time.AppendFormat(l.head, time.RFC3339Nano)
		l.head = append(l.head, `","kind":"line"`...)
		l.head = appendText(l.head, `,"cell":`, e.Cell)
		l.head = appendText(l.head, `,"step":`, e.Step)
		l.head = appendText(l.head, `,"stream":`, e.Stream)
	}
	to = append(to, l.head...)
	to = appendText(to, `,"text":`, e.Text)
	if e.Partial {
		to = append(to, `,"partial":true`...)
	}
	return append(to, "}\n"...)
}

// appendText appends a field with a text, unless the text is empty.
func appendText(to []byte, field, text string) []byte {
	if text == "" {
		return to
	}
	to = append(append(to, field...), '"')
	if isPlain(text) && !strings.Contains(text, "##[") {
		to = append(to, text...)
	} else {
		to = appendEscaped(to, text)
	}
	return append(to, '"')
}

// isPlain reports whether a text is printable ASCII without what JSON escapes, eight bytes at once.
func isPlain(text string) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	at := 0
	for ; at+8 <= len(text); at += 8 {
		t := text[at : at+8]
		w := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56 // the compiler makes one load of it
		quote, backslash := w^'"'*each, w^'\\'*each
		if (w|(w-' '*each)|(w+each)|(quote-each)&^quote|(backslash-each)&^backslash)&high != 0 {
			return false
		}
	}
	for ; at < len(text); at++ {
		if c := text[at]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendEscaped appends the inside of a JSON string (RFC 8259, section 7). A byte that is not UTF-8
// becomes U+FFFD.
func appendEscaped(to []byte, text string) []byte {
	const named, names = "\b\f\n\r\t", `bfnrt`
	for i := 0; i < len(text); {
		if c := text[i]; c >= ' ' && c <= '~' {
			switch {
			case beginsCommand(text, i):
				to = append(to, `\u0023`...)
			case c == '"', c == '\\':
				to = append(to, '\\', c)
			default:
				to = append(to, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch at := strings.IndexRune(named, r); {
		case r == utf8.RuneError && size == 1:
			to = append(to, `\ufffd`...)
		case at >= 0 && r != utf8.RuneError:
			to = append(to, '\\', names[at])
		case isUnsafe(r):
			to = fmt.Appendf(to, `\u%04x`, r)
		default:
			to = append(to, text[i:i+size]...)
		}
		i += size
	}
	return to
}

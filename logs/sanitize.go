package logs

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Sanitizer makes what one stream prints safe to show on a terminal, line by line: colours and
// other attributes of text stay (SGR of ECMA-48, section 8.3.117), and nothing else that a terminal
// obeys.
//
//   - Whole control sequences and strings go: cursor movement, clearing, titles, the clipboard (OSC
//     52), questions to the terminal, hyperlinks, of which the text stays. So does SGR 8, which hides
//     text.
//   - A sequence without an end is shown, with ␛ for its ESC: a terminal would take what comes after
//     it, another step's line, for its rest.
//   - Of a text that is overwritten by means of carriage returns the last state is shown.
//   - Other control characters are shown as Unicode's pictures of them (␀), C1 controls and bytes
//     that are not UTF-8 as �. Tabs stay; bells and backspaces go.
//   - Characters that order the text around them, or end a line to some programs, are written out, as
//     \u202e: with them a line can read like another one.
//
// A line ends without attributes and the stream's next line begins with those that it had, so that
// no other line takes on its colours. The zero value is at the beginning of a stream. It is for what
// people look at: files, records and JSON have the bytes as they were.
type Sanitizer struct {
	attributes []byte // the SGR sequences in force
}

// maxAttributes bounds the sequences that are carried on to the next line; of more the last stays.
const maxAttributes = 128

// Sanitize makes a line safe that belongs to no stream, such as an error's text.
func Sanitize(line string) string { return new(Sanitizer).Line(line) }

// Line returns a line, or a piece of one, as it may be shown. It must have no newline; one that is there
// is shown as a picture.
func (s *Sanitizer) Line(line string) string {
	if len(s.attributes) == 0 && isHarmless(line) {
		return line
	}
	out := append(make([]byte, 0, len(line)+len(s.attributes)+8), s.attributes...)
	overwrite := false // a carriage return waits for what overwrites the text before it
	for i := 0; i < len(line); {
		end, kind := token(line, i)
		text := line[i:end]
		switch kind {
		case carriageReturn:
			overwrite = true
		case attributes:
			out = append(out, text...)
			s.remember(text)
		case printable:
			if overwrite {
				out, overwrite = append(out[:0], s.attributes...), false
			}
			out = appendPrintable(out, text)
		case dropped:
		}
		i = end
	}
	if len(s.attributes) > 0 {
		out = append(out, resetAttributes...)
	}
	return string(out)
}

const resetAttributes = "\x1b[0m"

// remember adds an SGR sequence to those in force.
func (s *Sanitizer) remember(sequence string) {
	parameters := sequence[2 : len(sequence)-1]
	switch {
	case strings.Trim(parameters, "0") == "": // "", "0": all off
		s.attributes = s.attributes[:0]
		return
	case strings.HasPrefix(parameters, "0;"): // all off, and then
		s.attributes = s.attributes[:0]
	case len(s.attributes)+len(sequence) > maxAttributes:
		s.attributes = s.attributes[:0]
	}
	s.attributes = append(s.attributes, sequence...)
}

// isHarmless reports whether a line is printable ASCII and tabs.
func isHarmless(line string) bool {
	for {
		if line = line[Printable(line):]; line == "" {
			return true
		}
		if line[0] != '\t' {
			return false
		}
		line = line[1:]
	}
}

// tokenKind says what becomes of a part of a line.
type tokenKind int

const (
	printable      tokenKind = iota // shown, by appendPrintable
	attributes                      // an SGR sequence
	carriageReturn                  // one byte
	dropped
)

// token returns the end and the kind of what begins at line[i].
func token(line string, i int) (end int, kind tokenKind) {
	switch line[i] {
	case '\r':
		return i + 1, carriageReturn
	case '\a', '\b':
		return i + 1, dropped
	case esc:
		if end := sequenceEnd(line, i); end > 0 {
			if isAttributes(line[i:end]) {
				return end, attributes
			}
			return end, dropped
		}
		return i + 1, printable
	}
	for end = i + 1; end < len(line); end++ {
		switch line[end] {
		case '\r', '\a', '\b', esc:
			return end, printable
		}
	}
	return end, printable
}

const esc = 0x1b

// sequenceEnd returns where the control sequence ends that begins at text[i] with an ESC, 0 when it has no
// end (ECMA-48, sections 5.3, 5.4 and 5.6).
func sequenceEnd(text string, i int) int {
	end, _ := sequenceOf(text[i:])
	if end == 0 {
		return 0
	}
	return i + end
}

// sequenceOf returns the length of the control sequence that text begins with, 0 when it is none. With
// more, it may be one when more text comes.
func sequenceOf[T string | []byte](text T) (end int, more bool) {
	if len(text) < 2 {
		return 0, true
	}
	switch c := text[1]; {
	case c == '[': // CSI: parameters, intermediates, one final byte
		return finalByte(text, 2, '@')
	case c == ']', c == 'P', c == 'X', c == '^', c == '_': // OSC, DCS, SOS, PM, APC: a string with a terminator
		return stringEnd(text, 2)
	case c >= ' ' && c <= '/': // charsets and the like: intermediates, one final byte
		return finalByte(text, 1, '0')
	case c >= '0' && c <= '~':
		return 2, false
	}
	return 0, false
}

// finalByte passes over parameters and intermediates to the final byte, the first that is at least lowest.
func finalByte[T string | []byte](text T, i int, lowest byte) (end int, more bool) {
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c < ' ' || c > '~':
			return 0, false
		case c >= lowest:
			return i + 1, false
		}
	}
	return 0, true
}

// stringEnd returns the end of a string that BEL or ST (ESC \) ends, 0 if nothing does or what it has in it
// would end it early. The end of a line does: sequences are looked at line by line.
func stringEnd[T string | []byte](text T, i int) (end int, more bool) {
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\a':
			return i + 1, false
		case c == esc && i+1 == len(text):
			return 0, true
		case c == esc && text[i+1] == '\\':
			return i + 2, false
		case c == esc || c == 0x18 || c == 0x1a || c == '\n': // ESC, CAN and SUB abort it
			return 0, false
		}
	}
	return 0, true
}

// isAttributes reports whether a sequence is an SGR that hides nothing.
func isAttributes(sequence string) bool {
	inside, ok := strings.CutPrefix(sequence, "\x1b[")
	if !ok || inside[len(inside)-1] != 'm' || len(sequence) > maxAttributes {
		return false
	}
	inside = inside[:len(inside)-1]
	if strings.Trim(inside, "0123456789;:") != "" {
		return false
	}
	return !hides(strings.Split(inside, ";"))
}

// hides reports whether one of the parameters is 8, conceal, and no part of a colour.
func hides(parameters []string) bool {
	for i := 0; i < len(parameters); i++ {
		switch strings.TrimLeft(parameters[i], "0") {
		case "8":
			return true
		case "38", "48", "58": // 38;5;N or 38;2;R;G;B
			if i+1 < len(parameters) && parameters[i+1] == "2" {
				i += 4
			} else {
				i += 2
			}
		}
	}
	return false
}

// appendPrintable appends text with pictures for its control characters.
func appendPrintable(to []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			switch {
			case c < ' ' && c != '\t':
				to = utf8.AppendRune(to, '\u2400'+rune(c))
			case c == 0x7f:
				to = append(to, "\u2421"...)
			default:
				to = append(to, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r >= 0x80 && r < 0xa0: // C1: U+009B is a CSI to many terminals
			to = utf8.AppendRune(to, utf8.RuneError)
		case Misleads(r):
			to = appendEscape(to, r)
		default:
			to = utf8.AppendRune(to, r)
		}
		i += size
	}
	return to
}

// Misleads reports whether a character makes the text around it read like another one: it orders the text
// (Unicode's Bidi_Control), or ends a line to some programs (U+2028, U+2029).
func Misleads(r rune) bool {
	return r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// appendEscape writes a character out, as \u202e.
func appendEscape(to []byte, r rune) []byte { return fmt.Appendf(to, `\u%04x`, r) }

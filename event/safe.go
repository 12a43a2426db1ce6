package event

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/stepexec/stepexec/logs"
)

// Encoder writes JSON that can be looked at with cat: it escapes every character that a terminal or a
// runner of GitHub Actions obeys, or that makes the text around it read like another one. The values are the same
// as without; a program that prints them must make them safe itself.
type Encoder struct {
	Indent string

	w io.Writer
}

// NewEncoder returns an Encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Encode writes a value and a newline.
func (e *Encoder) Encode(value any) error {
	var text safe
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", e.Indent)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := e.w.Write(text)
	return err
}

// safe is JSON in which encoding/json has already escaped the control characters of ASCII. What is outside
// of ASCII is inside a string.
type safe []byte

func (s *safe) Write(text []byte) (int, error) {
	for i := 0; i < len(text); {
		if c := text[i]; c < 0x7f {
			if beginsCommand(text, i) {
				*s = append(*s, `\u0023`...)
			} else {
				*s = append(*s, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if isUnsafe(r) {
			*s = fmt.Appendf(*s, `\u%04x`, r)
		} else {
			*s = append(*s, text[i:i+size]...)
		}
		i += size
	}
	return len(text), nil
}

// beginsCommand reports whether a # is the second one of ##[, which a runner of GitHub Actions obeys wherever in a
// line it stands.
func beginsCommand[text string | []byte](t text, i int) bool {
	return t[i] == '#' && i > 0 && t[i-1] == '#' && i+1 < len(t) && t[i+1] == '['
}

// isUnsafe reports whether a character of a JSON string is escaped: control characters of ASCII and C1
// (U+009B is a CSI to many terminals), and those that mislead.
func isUnsafe(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || logs.Misleads(r) }

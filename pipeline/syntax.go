package pipeline

import (
	"fmt"
	"unicode/utf8"
)

const byteOrderMark = 0xfeff

// checkText finds what YAML refuses without saying where: bytes that are not
// UTF-8, and control characters. It returns nil when there are none.
func checkText(data []byte) *Error {
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Error{Line: line, Column: column, Message: "the file is not UTF-8 text", Hint: "save it as UTF-8"}
		case !printable(r) && (i > 0 || r != byteOrderMark):
			return &Error{Line: line, Column: column, Message: fmt.Sprintf("the file has a control character (%U)", r), Hint: "remove it"}
		case r == '\n':
			line, column = line+1, 0
		}
		i, column = i+size, column+1
	}
	return nil
}

// printable is YAML's c-printable (YAML 1.2, 5.1).
func printable(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r', r == 0x85:
		return true
	case r < ' ', r > '~' && r < 0xa0, r == byteOrderMark, r == 0xfffe, r == 0xffff:
		return false
	}
	return true
}

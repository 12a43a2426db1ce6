package pipeline

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stepexec/stepexec/pipeline/yamlfault"
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

// lateLines are the messages for which the YAML library counts lines from 0.
// For all others it counts from 1.
var lateLines = []string{
	"did not find expected '-' indicator",
	"did not find expected key",
	"did not find expected ',' or ']'",
	"did not find expected ',' or '}'",
	"did not find expected node content",
	"did not find expected <document start>",
}

// syntaxError says where and why the YAML library has refused a file. The library's own message, which is an error's
// text with the line in it, is used only if yamlfault finds nothing.
func syntaxError(message string, data []byte) *Error {
	if f := yamlfault.Find(data); f != nil {
		return &Error{Line: f.Line, Column: f.Column, Message: "not valid YAML: " + f.Message, Hint: f.Hint}
	}
	e := &Error{Line: 1}
	message = strings.TrimPrefix(message, "yaml: ")
	if n, err := fmt.Sscanf(message, "line %d:", &e.Line); n == 1 && err == nil {
		_, message, _ = strings.Cut(message, ": ")
		if slices.Contains(lateLines, message) {
			e.Line++
		}
	}
	lines := bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n"))
	e.Line = min(e.Line, len(lines)) // the problem may be the end of the file
	line := lines[e.Line-1]
	e.Column = 1 + len(line) - len(bytes.TrimLeft(line, " "))
	e.Message = "not valid YAML: " + message
	return e
}

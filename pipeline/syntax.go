package pipeline

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
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

// parserProblems are the messages for which the YAML library counts lines from 0.
// For all others it counts from 1.
var parserProblems = []string{
	"did not find expected '-' indicator",
	"did not find expected key",
	"did not find expected ',' or ']'",
	"did not find expected ',' or '}'",
	"did not find expected node content",
	"did not find expected <document start>",
}

// syntaxError makes the most of a message of the YAML library, which has the line
// only as text, is one line off at times, and has none at others.
func syntaxError(message string, data []byte) *Error {
	e := &Error{Line: 1}
	message = strings.TrimPrefix(message, "yaml: ")
	if n, err := fmt.Sscanf(message, "line %d:", &e.Line); n == 1 && err == nil {
		_, message, _ = strings.Cut(message, ": ")
		if slices.Contains(parserProblems, message) {
			e.Line = min(e.Line+1, lineCount(data)) // the problem may be the end of the file
		}
	}
	e.Message = "not valid YAML: " + message
	var anchor string
	switch n, _ := fmt.Sscanf(message, "unknown anchor %s", &anchor); {
	case n == 1:
		e.Line, e.Column = aliasPosition(strings.Trim(anchor, "'"), data)
		e.Hint = "put a & anchor of that name before it, or quotes around it"
	case strings.Contains(message, "tab character"), strings.Contains(message, "cannot start any token"):
		e.tabIndent(data)
	default:
		e.bracket(data)
	}
	return e
}

func lineCount(data []byte) int {
	return bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n")) + 1
}

// aliasPosition finds the first place that looks like an alias of that name.
func aliasPosition(name string, data []byte) (line, column int) {
	form := regexp.MustCompile(`(?m)(?:^|[\s\[{,])(\*` + regexp.QuoteMeta(name) + `)(?:[\s\]},]|$)`)
	at := form.FindSubmatchIndex(data)
	if at == nil {
		return 1, 0
	}
	before := data[:at[2]]
	return 1 + bytes.Count(before, []byte("\n")), utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

// bracket explains a command such as "- [[ -f x ]] || y", which YAML takes for a list with something
// behind it, on the error's line or the one before.
func (e *Error) bracket(data []byte) {
	form := regexp.MustCompile(`^\s*-\s+(\[.*\]\s+\S.*?)\s*$`)
	lines := bytes.Split(data, []byte("\n"))
	for i := e.Line - 1; i >= 0 && i >= e.Line-2 && i < len(lines); i-- {
		if match := form.FindSubmatch(lines[i]); match != nil {
			e.Line, e.Column = i+1, 1+utf8.RuneCount(lines[i][:bytes.IndexByte(lines[i], '[')])
			e.Hint = "a [ begins a list in YAML; put the command in quotes: - " + inQuotes(string(match[1]))
			return
		}
	}
}

// tabIndent moves the error to the first line, from its own on, that is indented
// with a tab.
func (e *Error) tabIndent(data []byte) {
	lines := bytes.Split(data, []byte("\n"))
	for i := e.Line - 1; i >= 0 && i < len(lines); i++ {
		indent := lines[i][:len(lines[i])-len(bytes.TrimLeft(lines[i], " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
			e.Line, e.Column, e.Hint = i+1, tab+1, "YAML indents with spaces, never with tabs"
			return
		}
	}
}

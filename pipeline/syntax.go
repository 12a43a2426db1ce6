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
	case e.bracket(data):
	default:
		e.openQuote(data)
	}
	if e.Hint == "" {
		e.Hint = syntaxHint(message)
		e.secondColon(message, data)
	}
	return e
}

// secondColon adds the column of the colon that the parser does not expect: the last one of its line that would begin
// a value.
func (e *Error) secondColon(message string, data []byte) {
	lines := bytes.Split(data, []byte("\n"))
	if !strings.Contains(message, "mapping values are not allowed") || e.Line < 1 || e.Line > len(lines) {
		return
	}
	line := lines[e.Line-1]
	if all := regexp.MustCompile(`:(?:[ \t\r]|$)`).FindAllIndex(line, -1); len(all) > 0 {
		e.Column = 1 + utf8.RuneCount(line[:all[len(all)-1][0]])
	}
}

// syntaxHint says what mostly is the cause of the parser's message; "": that differs.
func syntaxHint(message string) string {
	switch {
	case strings.Contains(message, "mapping values are not allowed"):
		return "put a text with a colon before a space, or at its end, in quotes; and begin the keys of one map in the same column"
	case strings.Contains(message, "expected '-' indicator"), strings.Contains(message, "did not find expected key"):
		return "begin the items of one list, and the keys of one map, in the same column"
	case strings.Contains(message, "expected ',' or ']'"):
		return "close the [ with a ], put commas between the items, and put texts with quotes or brackets in quotes"
	case strings.Contains(message, "expected ',' or '}'"):
		return "close the { with a }, put commas between the keys, and put texts with quotes or braces in quotes"
	case strings.Contains(message, "could not find expected ':'"):
		return "a key needs a colon and a space behind it"
	}
	return ""
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
// behind it, on the error's line or the one before. It reports whether there is one.
func (e *Error) bracket(data []byte) bool {
	form := regexp.MustCompile(`^\s*-\s+(\[.*\]\s+\S.*?)\s*$`)
	lines := bytes.Split(data, []byte("\n"))
	for i := e.Line - 1; i >= 0 && i >= e.Line-2 && i < len(lines); i-- {
		if match := form.FindSubmatch(lines[i]); match != nil {
			e.Line, e.Column = i+1, 1+utf8.RuneCount(lines[i][:bytes.IndexByte(lines[i], '[')])
			e.Hint = "a [ begins a list in YAML; put the command in quotes: - " + inQuotes(string(match[1]))
			return true
		}
	}
	return false
}

// openQuote moves the error to the quote that is not closed: an opening one, after which the rest of the file is in
// quotes. Quotes of that kind on lines behind it were taken in pairs, so the first line with one too many is meant.
func (e *Error) openQuote(data []byte) {
	lines := bytes.Split(data, []byte("\n"))
	for i, line := range lines {
		column, quote := unclosed(line)
		if quote == 0 || endsOnNextLines(lines[i+1:], quote) {
			continue
		}
		e.Line, e.Column = i+1, column
		e.Message = fmt.Sprintf("not valid YAML: the quote %c is not closed", quote)
		e.Hint = "close it, or put the whole text in the other kind of quotes"
		return
	}
}

// unclosed returns the column and kind of a quote that begins a value on a line and has no end there; 0 for none.
func unclosed(line []byte) (column int, quote byte) {
	value := regexp.MustCompile(`(?:^\s*|[-:,\[{]\s+|[\[{,]\s*)(["'])`)
	for from := 0; from < len(line); {
		at := value.FindSubmatchIndex(line[from:])
		if at == nil {
			return 0, 0
		}
		start := from + at[2]
		quote := line[start]
		end := endOfQuote(line[start+1:], quote)
		if end < 0 {
			return utf8.RuneCount(line[:start]) + 1, quote
		}
		from = start + 1 + end
	}
	return 0, 0
}

// endOfQuote returns where a text in quotes ends, behind its closing quote; -1 if it does not (YAML 1.2, 7.3).
func endOfQuote(text []byte, quote byte) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"', text[i] == '\'' && quote == '\'' && i+1 < len(text) && text[i+1] == '\'':
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return -1
}

// endsOnNextLines reports whether a text of several lines in quotes is closed where a value may end. A quote in the
// middle of a later line belongs to another value.
func endsOnNextLines(lines [][]byte, quote byte) bool {
	for _, line := range lines {
		end := endOfQuote(line, quote)
		if end < 0 {
			continue
		}
		rest := bytes.TrimSpace(line[end:])
		return len(rest) == 0 || bytes.IndexByte([]byte(",]}#:"), rest[0]) >= 0
	}
	return false
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

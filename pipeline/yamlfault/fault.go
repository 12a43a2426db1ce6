// Package yamlfault finds where and why a text is not YAML. The YAML library says what its grammar expected,
// without a column; this package is asked about a text that the library has refused, and answers for people.
package yamlfault

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Fault is the first mistake of a text.
type Fault struct {
	Line, Column int    // from 1 on; the column in characters
	Message      string // what is wrong there
	Hint         string // what to do; "" if the message says it
}

// Find returns the first mistake of a text that is not YAML, and nil if it cannot tell: it does not know every
// form that YAML has, such as keys that begin with "? ".
func Find(data []byte) *Fault {
	f := &finder{text: string(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))}
	f.text = strings.TrimPrefix(f.text, "\ufeff")
	for f.at < len(f.text) && f.document() {
		continue
	}
	if f.message == "" {
		return nil
	}
	line := f.text[:f.fault]
	start := strings.LastIndexByte(line, '\n') + 1
	return &Fault{Line: 1 + strings.Count(line, "\n"), Column: 1 + utf8.RuneCountInString(line[start:]), Message: f.message, Hint: f.hint}
}

// mostLevels bounds how deep lists and maps are nested. The library's bound is as high.
const mostLevels = 10_000

// finder reads a text as YAML. Its methods begin where at is and leave it after what they have read. They report
// whether reading can go on: otherwise there is a fault, or a form that finder does not know.
type finder struct {
	text    string
	at      int // what is to be read next
	line    int // beginning of its line
	indent  int // after next: indentation of the line that at is in, in spaces; -1: the document has ended
	levels  int
	anchors map[string]bool
	noted   bool // next has passed a comment
	column  int  // that of the block which ended last; -1: none has

	fault         int // place of what is wrong
	message, hint string
}

func (f *finder) fail(at int, message, hint string) bool {
	if f.message == "" {
		f.fault, f.message, f.hint = at, message, hint
	}
	return false
}

// document reads a document and the line that ends it.
func (f *finder) document() bool {
	f.anchors, f.column, f.line = map[string]bool{}, -1, f.at
	for strings.HasPrefix(f.text[f.at:], "%") {
		directive := f.at
		if f.at = min(f.lineEnd()+1, len(f.text)); !f.marker(f.at) && !strings.HasPrefix(f.text[f.at:], "%") {
			return f.fail(directive, "a % at the beginning of a line begins a directive of YAML, and the line --- must follow it", f.quotes(directive))
		}
		f.line = f.at
	}
	if f.marker(f.at) {
		f.at += 3
		if !f.restIsEmpty() { // no list or map of lines may begin there
			f.blanks()
			if _, ok := f.node(-1, false); !ok {
				return false
			}
			return f.documentEnd(-1)
		}
		if !f.next() {
			return false
		}
	} else if !f.here() {
		return false
	}
	first := f.indent
	if first >= 0 && !f.block(-1) {
		return false
	}
	return f.documentEnd(first)
}

// documentEnd reads the line that ends a document, whose first line has an indentation.
func (f *finder) documentEnd(first int) bool {
	switch {
	case f.indent < 0:
	case f.text[f.at] == ']', f.text[f.at] == '}':
		return f.closer()
	case f.indent < first:
		return f.fail(f.at, "this line is indented less than the first one of the file", "begin the top keys of a file in the same column")
	default:
		return f.fail(f.at, "this line follows the end of all that a file can hold", "begin the top keys of a file in the same column")
	}
	if !strings.HasPrefix(f.text[f.at:], "...") {
		return true
	}
	f.at += len("...")
	empty := f.restIsEmpty()
	for empty && f.at < len(f.text) {
		f.at = min(f.lineEnd()+1, len(f.text))
		f.line = f.at
		empty = f.restIsEmpty()
	}
	if f.at < len(f.text) && (f.at > f.line || !f.marker(f.at) && f.text[f.at] != '%') {
		f.blanks()
		return f.fail(f.at, "text follows the ... that ends the document", "remove it")
	}
	return true
}

// block reads a list, a map or a value whose lines are indented deeper than parent.
func (f *finder) block(parent int) bool {
	f.levels++
	defer func() { f.levels-- }()
	if f.levels > mostLevels {
		return false
	}
	column := f.at - f.line
	if f.dash() {
		return f.list(column, false)
	}
	if empty, ok := f.properties(); !ok {
		return false
	} else if empty {
		return f.next() && (f.indent <= parent || f.block(parent))
	}
	key, ok := f.node(parent, true)
	return ok && (!key || f.mapping(column))
}

// list reads a list whose dashes are in a column. That of a key of the same column ends at the next key.
func (f *finder) list(column int, ofKey bool) bool {
	for {
		f.column = -1
		f.at++
		if f.restIsEmpty() {
			if !f.next() || f.indent > column && !f.block(column) {
				return false
			}
		} else if f.blanks(); !f.block(column) {
			return false
		}
		switch {
		case f.indent < column:
			f.column = column
			return true
		case f.indent > column:
			return f.stray(column)
		case f.dash():
		case ofKey:
			return true
		case strings.HasPrefix(f.text[f.at:], "-"):
			return f.fail(f.at+1, "a space is missing after the -", "items of a list begin with - and a space")
		default:
			return f.fail(f.at, "this line stands among the items of a list, but has no -", "begin an item with - and a space; begin the keys of one item in the same column")
		}
	}
}

// mapping reads a map whose keys are in a column, from after the colon of the first one.
func (f *finder) mapping(column int) bool {
	for {
		f.column = -1
		if !f.value(column) {
			return false
		}
		switch {
		case f.indent < column:
			f.column = column
			return true
		case f.indent > column:
			return f.stray(column)
		case f.dash():
			return f.fail(f.at, "this item of a list stands among the keys of a map", "begin the items of one list, and the keys of one map, in the same column")
		}
		start := f.at
		empty, ok := f.properties()
		if !ok || empty {
			return false
		}
		if key, ok := f.node(column, true); !ok {
			return false
		} else if !key {
			return f.noColon(start)
		}
	}
}

// noColon is the fault of a line that should have a key and has none.
func (f *finder) noColon(start int) bool {
	text, _, _ := strings.Cut(f.text[start:], "\n")
	text = strings.TrimSpace(text)
	switch name, _, _ := strings.Cut(text, " "); {
	case strings.HasPrefix(text, "-"):
		return f.fail(start+1, "a space is missing after the -", "items of a list begin with - and a space")
	case strings.Contains(name, ":"), strings.Contains(name, "="):
		return f.fail(start, "the key has no colon and space after it", "write KEY: VALUE")
	default:
		return f.fail(start, "the key "+name+" has no colon after it", "write "+name+":")
	}
}

// value reads what follows the colon of a key.
func (f *finder) value(column int) bool {
	f.blanks()
	empty, ok := f.properties()
	switch {
	case !ok:
		return false
	case !empty && !f.restIsEmpty():
		_, ok := f.node(column, false)
		return ok
	case !f.next():
		return false
	case f.indent > column:
		return f.block(column)
	case f.indent == column && f.dash():
		return f.list(column, true)
	}
	return true
}

// stray is the fault of a line that begins in a column in which nothing does.
func (f *finder) stray(column int) bool {
	if f.column > f.indent {
		return f.fail(f.at, fmt.Sprintf("this line begins in column %d, but the lines it could belong to begin in column %d or %d", f.indent+1, column+1, f.column+1),
			"begin the items of one list, and the keys of one map, in the same column")
	}
	if c := f.text[f.at]; c == ']' || c == '}' {
		return f.closer()
	}
	return f.fail(f.at, fmt.Sprintf("this line begins in column %d, but the lines it could belong to begin in column %d", f.indent+1, column+1),
		"begin the items of one list, and the keys of one map, in the same column")
}

// closer is the fault of a bracket that closes nothing.
func (f *finder) closer() bool {
	return f.fail(f.at, fmt.Sprintf("the %c closes nothing", f.text[f.at]), "remove it, or put the text in quotes")
}

// next goes to the next line that has more than a comment.
func (f *finder) next() bool {
	f.noted = false
	for {
		end := f.lineEnd()
		f.noted = f.noted || strings.Contains(f.text[f.at:end], "#") // a comment after what was read
		f.at = min(end+1, len(f.text))
		f.line = f.at
		if f.at == len(f.text) || f.marker(f.at) {
			f.indent = -1
			return true
		}
		if !f.restIsEmpty() {
			return f.here()
		}
	}
}

// here goes to what a line begins with.
func (f *finder) here() bool {
	for f.at < len(f.text) && f.restIsEmpty() {
		f.at = min(f.lineEnd()+1, len(f.text))
		f.line = f.at
	}
	if f.at == len(f.text) || f.marker(f.at) {
		f.indent = -1
		return true
	}
	for f.text[f.at] == ' ' {
		f.at++
	}
	f.indent = f.at - f.line
	if f.text[f.at] == '\t' {
		return f.fail(f.at, "a tab indents this line", "YAML indents with spaces, never with tabs")
	}
	return true
}

// marker reports whether a line divides documents.
func (f *finder) marker(line int) bool {
	text := f.text[line:]
	return (strings.HasPrefix(text, "---") || strings.HasPrefix(text, "...")) && (len(text) == 3 || isBlank(text[3]))
}

// lineEnd is the end of the line.
func (f *finder) lineEnd() int {
	if n := strings.IndexByte(f.text[f.at:], '\n'); n >= 0 {
		return f.at + n
	}
	return len(f.text)
}

// restIsEmpty reports whether the rest of the line has nothing but a comment.
func (f *finder) restIsEmpty() bool {
	i := f.at
	for i < len(f.text) && (f.text[i] == ' ' || f.text[i] == '\t' || f.text[i] == '\r') {
		i++
	}
	return i == len(f.text) || f.text[i] == '\n' || f.text[i] == '#' && (i > f.at || i == f.line || isBlank(f.text[i-1]))
}

func (f *finder) blanks() {
	for f.at < len(f.text) && (f.text[f.at] == ' ' || f.text[f.at] == '\t') {
		f.at++
	}
}

func (f *finder) dash() bool { return f.text[f.at] == '-' && f.blankAt(f.at+1) }

// blankAt reports whether a place has white space, or is the end.
func (f *finder) blankAt(i int) bool { return i >= len(f.text) || isBlank(f.text[i]) }

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

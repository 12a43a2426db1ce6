package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors bounds the list: nobody reads a hundred errors, and a hostile file
// could ask for millions.
const maxErrors = 100

// maxMessage keeps a value that is a whole megabyte out of the terminal.
const maxMessage = 2000

// Error is one thing wrong with a pipeline.
type Error struct {
	File    string
	Line    int    // from 1; 0 when the error has no place in a file
	Column  int    // from 1; 0 when only the line is known
	Key     string // path of the key, like steps[1].comands; "" for the whole file
	Message string
	Hint    string // what to do about it; may be ""

	cause error
}

// Error is file:line:column: key: message (hint), leaving out what is unknown.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
			if e.Column > 0 {
				fmt.Fprintf(&b, ":%d", e.Column)
			}
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the error that caused this one, such as that of an env file
// which is not there, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Errors is everything wrong with a pipeline, sorted by file and position. It holds at
// most a hundred.
type Errors []*Error

// Error is one line an error.
func (l Errors) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As see every error of the list.
func (l Errors) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

func (l *Errors) add(e *Error) {
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "") + "…"
	}
	if !l.full() {
		*l = append(*l, e)
	}
}

func (l Errors) full() bool { return len(l) >= maxErrors }

// result sorts the list and returns it as an error: nil when it is empty.
func (l Errors) result() error {
	if len(l) == 0 {
		return nil
	}
	slices.SortStableFunc(l, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l
}

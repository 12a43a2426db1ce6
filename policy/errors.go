package policy

import (
	"fmt"
	"strings"
)

// Error is one thing wrong with a policy file.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 when unknown
	Key          string // "" for the whole file
	Message      string
	Hint         string // what to do about it; may be ""
}

// Error is file:line:column: key: message (hint), leaving out what is unknown.
func (e *Error) Error() string {
	text := at(e.File, position{e.Line, e.Column}) + ": "
	if e.Key != "" {
		text += e.Key + ": "
	}
	text += e.Message
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

func at(file string, p position) string {
	switch {
	case p.line == 0:
		return file
	case p.column == 0:
		return fmt.Sprintf("%s:%d", file, p.line)
	}
	return fmt.Sprintf("%s:%d:%d", file, p.line, p.column)
}

// Errors is everything wrong with a policy file, in its order.
type Errors []*Error

// Error is one line an error.
func (l Errors) Error() string { return lines(l) }

// Denial is one thing that a step asks for and may not have.
type Denial struct {
	Step  string // "" is the pipeline as a whole
	Key   string // of the step, such as network or mounts[0]
	Value string // what it asks for
	Why   string
	Rule  string // the key of the policy that decides, and where it is
}

// Error names the step, its key and value, and the rule that refuses it.
func (d *Denial) Error() string {
	where := "pipeline"
	if d.Step != "" {
		where = "step " + d.Step
	}
	return fmt.Sprintf("%s: %s: %s is not allowed: %s (%s)", where, d.Key, d.Value, d.Why, d.Rule)
}

// Denials is everything that a step may not have.
type Denials []*Denial

// Error is one line a denial.
func (l Denials) Error() string { return lines(l) }

func lines[E error](list []E) string {
	var b strings.Builder
	for i, e := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

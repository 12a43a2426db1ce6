package pipeline

import (
	"fmt"

	"github.com/bmatcuk/doublestar/v4"
)

// Condition is one item of a step's when: all that it asks for must hold.
type Condition struct {
	Position

	Branch, Tag, Event, Action, Ref, Repo, Instance, Platform, Cron, Deploy Match

	Path     PathMatch
	Matrix   []AxisMatch
	Evaluate string // an expression of expr-lang; "" is none
	Status   RunOn  // the zero value is on success
}

// Match holds for a value that no pattern of Exclude matches and, if there is
// any, one of Include does. Patterns are those of doublestar: * ends at a slash,
// ** does not.
type Match struct {
	Include, Exclude []string
}

// PathMatch holds for changed files of which one matches a pattern of Include, if
// there is any, and not all match one of Exclude.
type PathMatch struct {
	Match
	NotOnEmpty bool // it does not hold where no file has changed
}

// AxisMatch is a condition on one axis of the matrix.
type AxisMatch struct {
	Axis string
	Match
}

// RunOn says after what a step runs: as long as all went well, once something
// failed, and once the run was cancelled. The zero RunOn is for none of them.
type RunOn struct {
	Success, Failure, Cancel bool
}

func (m Match) given() bool { return len(m.Include)+len(m.Exclude) > 0 }

// when reads a condition, or a list of which any has to hold.
func (p *parser) when(v value) []Condition {
	switch {
	case v.kind == mapKind:
		return []Condition{p.condition(v)}
	case v.kind != listKind:
		p.wrongType(v, "a map or a list")
		return nil
	case len(v.items) == 0:
		p.wrong(v, "must not be empty", "without any condition the step runs on success")
	}
	var conditions []Condition
	for i := range v.items {
		conditions = append(conditions, p.condition(v.item(i)))
	}
	return conditions
}

func (p *parser) condition(v value) Condition {
	c := Condition{Position: v.position()}
	known := fields{
		"path":     func(v value) { c.Path = p.pathMatch(v) },
		"matrix":   func(v value) { c.Matrix = p.axisMatches(v) },
		"evaluate": func(v value) { c.Evaluate = p.evaluate(v) },
		"status":   func(v value) { c.Status = p.status(v) },
	}
	for key, match := range map[string]*Match{
		"branch": &c.Branch, "tag": &c.Tag, "event": &c.Event, "action": &c.Action, "ref": &c.Ref,
		"repo": &c.Repo, "instance": &c.Instance, "platform": &c.Platform, "cron": &c.Cron, "deploy": &c.Deploy,
	} {
		known[key] = func(v value) { *match = p.match(v) }
	}
	p.object(v, known)
	return c
}

// match reads a pattern, a list of patterns, or a map with include and exclude.
func (p *parser) match(v value) Match {
	var m Match
	if v.kind != mapKind {
		m.Include = p.filled(v, p.pattern)
		return m
	}
	p.object(v, p.matchFields(&m))
	p.mustMatchSomething(v, m)
	return m
}

func (p *parser) matchFields(m *Match) fields {
	return fields{
		"include": func(v value) { m.Include = p.filled(v, p.pattern) },
		"exclude": func(v value) { m.Exclude = p.filled(v, p.pattern) },
	}
}

func (p *parser) mustMatchSomething(v value, m Match) {
	if len(v.pairs) == 0 {
		p.wrong(v, "must not be empty", "give it include, exclude or both")
	}
}

func (p *parser) pathMatch(v value) PathMatch {
	var m PathMatch
	if v.kind != mapKind {
		m.Include = p.filled(v, p.pattern)
		return m
	}
	known := p.matchFields(&m.Match)
	known["on_empty"] = func(v value) { m.NotOnEmpty = !p.boolean(v) }
	p.object(v, known)
	p.mustMatchSomething(v, m.Match)
	return m
}

func (p *parser) axisMatches(v value) []AxisMatch {
	if v.kind != mapKind {
		p.wrongType(v, "a map")
		return nil
	}
	var matches []AxisMatch
	for _, pair := range v.pairs {
		matches = append(matches, AxisMatch{pair.name, p.match(v.field(pair))})
	}
	return matches
}

const (
	maxPattern      = 1000 // bytes
	maxAlternatives = 256  // patterns without braces that one with braces stands for
)

// pattern reads a pattern of doublestar.
func (p *reader) pattern(v value) string {
	text := p.notEmpty(v)
	switch {
	case !p.affordable(v, text):
	case !doublestar.ValidatePattern(text):
		p.wrong(v, fmt.Sprintf("%q is not a pattern", text), `the characters *, ?, [, ] and { are special; put \ in front of one that stands for itself`)
	default:
		return text
	}
	return ""
}

// affordable reports whether a pattern can be matched in a reasonable time, and reports it otherwise.
func (p *reader) affordable(v value, pattern string) bool {
	what, hint := unaffordable(pattern)
	if what != "" {
		p.wrong(v, what, hint)
	}
	return what == ""
}

// unaffordable says why a pattern cannot be matched in a reasonable time, and what helps: each brace can double the
// time. "": it can.
func unaffordable(pattern string) (what, hint string) {
	switch {
	case len(pattern) > maxPattern:
		return fmt.Sprintf("the pattern has %d characters, more than the %d allowed", len(pattern), maxPattern), ""
	case alternatives(pattern) > maxAlternatives:
		return fmt.Sprintf("the braces of the pattern stand for more than the %d patterns allowed", maxAlternatives), "write a list of patterns"
	}
	return "", ""
}

// status reads after what the step runs.
func (p *parser) status(v value) RunOn {
	words := []string{"success", "failure"}
	if v.kind != listKind {
		words = append(words, "always")
	}
	var on RunOn
	for _, word := range p.filled(v, func(v value) string { return p.oneOf(v, words...) }) {
		switch word {
		case "success":
			on.Success = true
		case "failure":
			on.Failure = true
		case "always":
			on = RunOn{Success: true, Failure: true, Cancel: true}
		}
	}
	return on
}

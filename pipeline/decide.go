package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Facts are what conditions are about. An empty value is one that is not known.
type Facts struct {
	Branch, Tag, Event, Ref, Repo, Instance, Platform, Cron string

	Action string // of a pull request's event, such as opened
	Deploy string // name of the environment that is deployed to

	Files      []string // changed ones, relative to the root of the repository
	FilesKnown bool     // false: Files says nothing, and conditions on paths hold

	Matrix map[string]string // the values of the axes
	Env    map[string]string // what an expression finds as env
}

// A Decision says whether a step takes part in a run.
type Decision struct {
	On     RunOn  // zero: it is left out
	Reason string // which condition was met, or why none was, with the values seen; "" without conditions
}

// Decide looks for the conditions that hold. The step runs on whatever any of those
// asks for, on success when none says; a step without conditions does so, too. The
// error is an [Error], of an expression that could not be evaluated.
func Decide(conditions []Condition, f Facts) (Decision, error) {
	if len(conditions) == 0 {
		return Decision{On: RunOn{Success: true}}, nil
	}
	var on RunOn
	var met, unmet []string
	for i := range conditions {
		c := &conditions[i]
		ok, why, err := c.holds(f)
		if err != nil {
			return Decision{}, &Error{Line: c.Line, Column: c.Column, Key: c.Key + ".evaluate", Message: err.Error()}
		}
		if !ok {
			unmet = append(unmet, why)
			continue
		}
		met = append(met, why)
		status := c.Status
		if status == (RunOn{}) {
			status.Success = true
		}
		on = RunOn{on.Success || status.Success, on.Failure || status.Failure, on.Cancel || status.Cancel}
	}
	reasons := met
	if len(met) == 0 {
		reasons = unmet
	}
	reasons = slices.DeleteFunc(reasons, func(why string) bool { return why == "" })
	return Decision{On: on, Reason: strings.Join(reasons, "; or ")}, nil
}

// holds says whether all of a condition is met: if not, why is the first thing that
// is not, and if so, everything that is.
func (c *Condition) holds(f Facts) (ok bool, why string, err error) {
	var met []string
	for _, part := range c.parts(f) {
		ok, why := part.match.holds(part.what, part.value)
		if !ok {
			return false, why, nil
		}
		if why != "" {
			met = append(met, why)
		}
	}
	if ok, why := c.Path.holds(f); !ok {
		return false, why, nil
	} else if why != "" {
		met = append(met, why)
	}
	if c.Evaluate != "" {
		ok, err := f.holds(c.Evaluate)
		if err != nil || !ok {
			return false, fmt.Sprintf("evaluate is false: %s", c.Evaluate), err
		}
		met = append(met, fmt.Sprintf("evaluate is true: %s", c.Evaluate))
	}
	return true, strings.Join(met, ", "), nil
}

// part is a condition on a single value.
type part struct {
	what, value string
	match       Match
}

func (c *Condition) parts(f Facts) []part {
	parts := []part{
		{"branch", f.Branch, c.Branch}, {"tag", f.Tag, c.Tag}, {"event", f.Event, c.Event}, {"action", f.Action, c.Action}, {"ref", f.Ref, c.Ref},
		{"repo", f.Repo, c.Repo}, {"instance", f.Instance, c.Instance}, {"platform", f.Platform, c.Platform}, {"cron", f.Cron, c.Cron}, {"deploy", f.Deploy, c.Deploy},
	}
	for _, axis := range c.Matrix {
		parts = append(parts, part{"matrix " + axis.Axis, f.Matrix[axis.Axis], axis.Match})
	}
	return parts
}

func (m Match) holds(what, value string) (ok bool, why string) {
	if !m.given() {
		return true, ""
	}
	if value == "" {
		if len(m.Include) > 0 {
			return false, fmt.Sprintf("%s is not known, and must be %s", what, either(m.Include))
		}
		return true, what + " is not known"
	}
	if pattern, hit := firstMatch(m.Exclude, value); hit {
		return false, fmt.Sprintf("%s is %q, which %q excludes", what, value, pattern)
	}
	if _, hit := firstMatch(m.Include, value); !hit && len(m.Include) > 0 {
		return false, fmt.Sprintf("%s is %q, not %s", what, value, either(m.Include))
	}
	return true, fmt.Sprintf("%s is %q", what, value)
}

// firstMatch returns the first of the patterns that matches. Parse has checked them;
// one that is no pattern matches nothing.
func firstMatch(patterns []string, value string) (string, bool) {
	for _, pattern := range patterns {
		if ok, err := doublestar.Match(pattern, value); ok && err == nil {
			return pattern, true
		}
	}
	return "", false
}

func (m PathMatch) holds(f Facts) (ok bool, why string) {
	switch {
	case !m.given():
		return true, ""
	case !f.FilesKnown: // leaving the step out could be green by accident
		return true, "which files changed is not known"
	case len(f.Files) == 0:
		return !m.NotOnEmpty, "no file has changed"
	}
	left := slices.DeleteFunc(slices.Clone(f.Files), func(file string) bool {
		_, hit := firstMatch(m.Exclude, file)
		return hit
	})
	if len(left) == 0 {
		return false, fmt.Sprintf("all changed files are excluded: %s", some(f.Files))
	}
	if len(m.Include) == 0 {
		return true, fmt.Sprintf("%s changed", left[0])
	}
	for _, file := range f.Files {
		if _, hit := firstMatch(m.Include, file); hit {
			return true, fmt.Sprintf("%s changed", file)
		}
	}
	return false, fmt.Sprintf("no changed file is %s: %s", either(m.Include), some(f.Files))
}

// either writes patterns as "a", "b" or "c", the first few of them.
func either(patterns []string) string {
	const few = 6
	if len(patterns) > few {
		return quotedList(append(slices.Clone(patterns[:few]), "…"))
	}
	return quotedList(patterns)
}

func some(files []string) string {
	const few = 3
	if len(files) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(files[:few], ", "), len(files)-few)
	}
	return strings.Join(files, ", ")
}

package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Facts are what conditions are about. An empty value is one that is not known.
type Facts struct {
	Branch, Tag, Event, Ref, Repo, Instance, Platform, Cron string

	DefaultBranch string // of the repository, as a CI server says; "": not known

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
	return new(Effort).Decide(conditions, f)
}

// Decide is the function of that name, with a shared budget.
func (e *Effort) Decide(conditions []Condition, f Facts) (Decision, error) {
	if len(conditions) == 0 {
		return Decision{On: RunOn{Success: true}}, nil
	}
	var on RunOn
	var met, unmet []string
	for i := range conditions {
		c := &conditions[i]
		ok, why, err := e.holds(c, f)
		if err != nil {
			return Decision{}, err
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
func (e *Effort) holds(c *Condition, f Facts) (ok bool, why string, err error) {
	var met []string
	for _, part := range c.parts(f) {
		ok, why, err := e.matches(part)
		if err != nil {
			return false, "", c.fails(part.what, err)
		}
		if !ok {
			return false, why, nil
		}
		if why != "" {
			met = append(met, why)
		}
	}
	switch ok, why, err := e.pathHolds(&c.Path, f); {
	case err != nil:
		return false, "", c.fails("path", err)
	case !ok:
		return false, why, nil
	case why != "":
		met = append(met, why)
	}
	if c.Evaluate != "" {
		switch ok, err := e.expressionHolds(c.Evaluate, f); {
		case err != nil:
			return false, "", c.fails("evaluate", err)
		case !ok:
			return false, fmt.Sprintf("evaluate is false: %s", c.Evaluate), nil
		}
		met = append(met, fmt.Sprintf("evaluate is true: %s", c.Evaluate))
	}
	return true, strings.Join(met, ", "), nil
}

func (e *Effort) expressionHolds(text string, f Facts) (bool, error) {
	x, err := f.compile(text)
	if err != nil {
		return false, fmt.Errorf("not a condition: %s", reason(err))
	}
	return e.run(x, f.variables())
}

// fails is an error of a key of the condition, at the condition's place.
func (c *Condition) fails(key string, err error) error {
	return &Error{File: c.File, Line: c.Line, Column: c.Column, Key: c.Key + "." + strings.Replace(key, " ", ".", 1), Message: err.Error()}
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

func (e *Effort) matches(p part) (ok bool, why string, err error) {
	m, what, value := &p.match, p.what, p.value
	if !m.given() {
		return true, "", nil
	}
	if value == "" {
		if len(m.Include) > 0 {
			return false, fmt.Sprintf("%s is not known, and must be %s", what, either(m.Include)), nil
		}
		return true, what + " is not known", nil
	}
	if pattern, hit, err := e.firstMatch(m.Exclude, value); err != nil || hit {
		return false, fmt.Sprintf("%s is %q, which %q excludes", what, value, pattern), err
	}
	if _, hit, err := e.firstMatch(m.Include, value); err != nil || !hit && len(m.Include) > 0 {
		return false, fmt.Sprintf("%s is %q, not %s", what, value, either(m.Include)), err
	}
	return true, fmt.Sprintf("%s is %q", what, value), nil
}

func (e *Effort) pathHolds(m *PathMatch, f Facts) (ok bool, why string, err error) {
	switch {
	case !m.given():
		return true, "", nil
	case !f.FilesKnown: // leaving the step out could be green by accident
		return true, "which files changed is not known", nil
	case len(f.Files) == 0:
		return !m.NotOnEmpty, "no file has changed", nil
	}
	left, err := e.firstFile(f.Files, m.Exclude, false)
	if err != nil || left == "" {
		return false, fmt.Sprintf("all changed files are excluded: %s", some(f.Files)), err
	}
	if len(m.Include) == 0 {
		return true, fmt.Sprintf("%s changed", left), nil
	}
	changed, err := e.firstFile(f.Files, m.Include, true)
	if err != nil || changed == "" {
		return false, fmt.Sprintf("no changed file is %s: %s", either(m.Include), some(f.Files)), err
	}
	return true, fmt.Sprintf("%s changed", changed), nil
}

// firstFile returns the first file that one of the patterns matches, or that none does; ""
// when there is no such file.
func (e *Effort) firstFile(files, patterns []string, matched bool) (string, error) {
	for _, file := range files {
		_, hit, err := e.firstMatch(patterns, file)
		if err != nil {
			return "", err
		}
		if hit == matched {
			return file, nil
		}
	}
	return "", nil
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

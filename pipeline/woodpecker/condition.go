package woodpecker

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/stepexec/stepexec/pipeline"
)

// conditions reads when: a condition, or a list of which any must hold. Only those of steps
// have a matrix.
func (p *parser) conditions(n pipeline.Node, ofStep bool) []pipeline.Condition {
	items := []pipeline.Node{n}
	if n.Kind() == "list" {
		items = n.Items()
	}
	var list []pipeline.Condition
	for _, item := range items {
		c := p.condition(item, ofStep)
		if p.o.Raw {
			list = append(list, byEvent(c)...)
		} else {
			list = append(list, c)
		}
	}
	return list
}

func (p *parser) condition(n pipeline.Node, ofStep bool) pipeline.Condition {
	c := pipeline.Condition{Position: n.Position()}
	known := fields{
		"event":    func(n pipeline.Node) { c.Event.Include = p.events(n) },
		"path":     func(n pipeline.Node) { p.pathMatch(n, &c) },
		"evaluate": func(n pipeline.Node) { p.evaluate(n, &c) },
		"status":   func(n pipeline.Node) { c.Status = p.status(n) },
		"local": func(n pipeline.Node) {
			if p.flag(n); p.o.Raw {
				p.warn(n, "is not kept in what is written", "leave the step out of local runs with --skip")
			}
		},
		"matrix": func(n pipeline.Node) {
			if ofStep {
				p.matrixMatch(n, &c)
			}
		},
	}
	for key, match := range map[string]*pipeline.Match{
		"branch": &c.Branch, "ref": &c.Ref, "repo": &c.Repo, "instance": &c.Instance, "platform": &c.Platform, "cron": &c.Cron,
	} {
		known[key] = func(n pipeline.Node) { *match = p.match(n) }
	}
	p.object(n, known)
	if !p.o.Raw {
		applicable(&c, p.o.Build.Event)
	}
	return c
}

// applicable takes away what a condition says about things that builds of the event do
// not have.
func applicable(c *pipeline.Condition, event string) {
	if event == "tag" {
		c.Branch = pipeline.Match{}
	}
	if event != "cron" {
		c.Cron = pipeline.Match{}
	}
	if event != "push" && !strings.HasPrefix(event, "pull_request") {
		c.Path = pipeline.PathMatch{}
	}
}

// allEvents are those of Woodpecker.
var allEvents = []string{"push", "pull_request", "pull_request_closed", "pull_request_metadata", "tag", "release", "deployment", "cron", "manual"}

// byEvent splits a condition whose parts do not count for every event: a native condition holds
// only if all of its parts do. There is one condition for each set of events that the same
// parts count for.
func byEvent(c pipeline.Condition) []pipeline.Condition {
	var split []pipeline.Condition
	for _, event := range allEvents {
		if len(c.Event.Include) > 0 && !slices.ContainsFunc(c.Event.Include, func(pattern string) bool { return matches(pattern, event) }) {
			continue
		}
		one := c
		applicable(&one, event)
		one.Event = pipeline.Match{}
		same := slices.IndexFunc(split, func(other pipeline.Condition) bool {
			other.Event = pipeline.Match{}
			return reflect.DeepEqual(other, one)
		})
		if same < 0 {
			split = append(split, one)
			same = len(split) - 1
		}
		split[same].Event.Include = append(split[same].Event.Include, event)
	}
	if len(split) < 2 {
		if len(split) == 1 {
			split[0].Event = c.Event
			return split
		}
		return []pipeline.Condition{c}
	}
	return split
}

func matches(pattern, event string) bool {
	ok, err := doublestar.Match(pattern, event)
	return ok && err == nil
}

// isNotLocal reports whether a step is for servers only.
func (p *parser) isNotLocal(n pipeline.Node) bool {
	items := []pipeline.Node{n}
	if n.Kind() == "list" {
		items = n.Items()
	}
	return slices.ContainsFunc(items, func(item pipeline.Node) bool {
		local, given := item.Get("local")
		return given && strings.EqualFold(local.Raw(), "false")
	})
}

// match reads a pattern, a list of them, or a map of include and exclude.
func (p *parser) match(n pipeline.Node) pipeline.Match {
	var m pipeline.Match
	if n.Kind() != "map" {
		m.Include = p.patterns(n)
		return m
	}
	p.object(n, fields{
		"include": func(n pipeline.Node) { m.Include = p.patterns(n) },
		"exclude": func(n pipeline.Node) { m.Exclude = p.patterns(n) },
	})
	return m
}

// events reads names; there is no include and exclude here.
func (p *parser) events(n pipeline.Node) []string {
	if n.Kind() == "map" {
		p.Wrong(n, "must be an event or a list of events", "event has no include and exclude")
		return nil
	}
	return p.patterns(n)
}

func (p *parser) status(n pipeline.Node) pipeline.RunOn {
	var on pipeline.RunOn
	p.each(n, func(n pipeline.Node) string {
		switch p.oneOf(n, "success", "failure") {
		case "success":
			on.Success = true
		case "failure":
			on.Failure = true
		}
		return ""
	})
	return on
}

func (p *parser) pathMatch(n pipeline.Node, c *pipeline.Condition) {
	m, message := &c.Path, ""
	if n.Kind() != "map" {
		m.Include = p.patterns(n)
		return
	}
	p.object(n, fields{
		"include":        func(n pipeline.Node) { m.Include = p.patterns(n) },
		"exclude":        func(n pipeline.Node) { m.Exclude = p.patterns(n) },
		"on_empty":       func(n pipeline.Node) { m.NotOnEmpty = !p.flag(n) },
		"ignore_message": func(n pipeline.Node) { message = p.Text(n) },
	})
	if message != "" && strings.Contains(strings.ToLower(p.o.Build.Message), strings.ToLower(message)) {
		*m = pipeline.PathMatch{} // it holds whatever has changed
	}
}

// matrixMatch reads a map from axes to patterns, or one of include and exclude. It
// excludes a cell that has all of what exclude says.
func (p *parser) matrixMatch(n pipeline.Node, c *pipeline.Condition) {
	var exclude []pipeline.AxisMatch
	include := func(n pipeline.Node) {
		for _, e := range n.Entries() {
			c.Matrix = append(c.Matrix, pipeline.AxisMatch{Axis: e.Name, Match: pipeline.Match{Include: []string{p.Pattern(e.Node)}}})
		}
	}
	for _, e := range n.Entries() {
		switch {
		case e.Name == "include" && e.Kind() == "map":
			include(e.Node)
		case e.Name == "exclude" && e.Kind() == "map":
			for _, x := range e.Entries() {
				exclude = append(exclude, pipeline.AxisMatch{Axis: x.Name, Match: pipeline.Match{Exclude: []string{p.Pattern(x.Node)}}})
			}
		default:
			c.Matrix = append(c.Matrix, pipeline.AxisMatch{Axis: e.Name, Match: pipeline.Match{Include: []string{p.Pattern(e.Node)}}})
		}
	}
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
	}
	if len(exclude) < 2 {
		c.Matrix = append(c.Matrix, exclude...)
		return
	}
	if p.o.Raw {
		p.warn(n, "a native matrix condition cannot exclude by several axes at once", "")
		return
	}
	all := !slices.ContainsFunc(exclude, func(a pipeline.AxisMatch) bool {
		ok, err := doublestar.Match(a.Exclude[0], p.values[a.Axis])
		return !ok || err != nil
	})
	if all {
		never(c, "matrix.exclude")
	}
}

// never makes a condition that does not hold, and says why in its reason.
func never(c *pipeline.Condition, why string) {
	c.Evaluate = "false" + comment(why)
}

func comment(text string) string { return " /* " + strings.ReplaceAll(text, "*/", "* /") + " */" }

// capitals are the names of variables in an expression, and texts in quotes, which have none.
var capitals = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`|\\b(?:nil|[A-Z][A-Z0-9_]*)\\b")
})

// nativeNames are the variables that expressions of native files have under these or other
// names.
var nativeNames = map[string]string{
	"CI_COMMIT_BRANCH": "CI_COMMIT_BRANCH", "CI_COMMIT_TAG": "CI_COMMIT_TAG", "CI_PIPELINE_EVENT": "CI_PIPELINE_EVENT", "CI_COMMIT_REF": "CI_COMMIT_REF",
	"CI_REPO": "CI_REPO", "CI_SYSTEM_HOST": "CI_SYSTEM_HOST", "CI_SYSTEM_PLATFORM": "CI_SYSTEM_PLATFORM",
	"CI_PIPELINE_DEPLOY_TARGET": "deploy", "CI_PIPELINE_CRON": "cron",
}

// nativeExpression is an expression in the names of a native file. Variables that people give
// are in env; one of the build that a native file lacks would be empty there, and the step
// left out, so it is an error.
func (p *parser) nativeExpression(n pipeline.Node, text string) string {
	axes := map[string]bool{}
	for _, cell := range p.out.Cells() {
		for _, v := range cell {
			axes[v.Axis] = true
		}
	}
	return capitals().ReplaceAllStringFunc(text, func(found string) string {
		switch {
		case strings.ContainsAny(found[:1], "\"'`"):
			return found
		case found == "nil": // no variable of a native expression is
			return `""`
		case axes[found]:
			return fmt.Sprintf("matrix[%q]", found)
		case nativeNames[found] != "":
			return nativeNames[found]
		case strings.HasPrefix(found, "CI_") || strings.HasPrefix(found, "DRONE_"):
			p.Wrong(n, fmt.Sprintf("a native file has no %s", found), "write the condition in other words")
		}
		return fmt.Sprintf("env[%q]", found)
	})
}

// evaluate decides an expression: it may be about any of the build's variables, and those
// that are not there are nil.
func (p *parser) evaluate(n pipeline.Node, c *pipeline.Condition) {
	text := p.Text(n)
	if p.o.Raw {
		c.Evaluate = p.nativeExpression(n, text)
		return
	}
	holds, err := p.effort.Evaluate(text, p.values)
	switch {
	case err != nil:
		p.Wrong(n, err.Error(), "")
	case holds:
		c.Evaluate = "true" + comment(text)
	default:
		never(c, text)
	}
}

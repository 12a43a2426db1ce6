package drone

import (
	"slices"

	"github.com/stepexec/stepexec/pipeline"
)

// condition reads when or trigger. On is after what it runs, as its status says.
func (p *parser) condition(n pipeline.Node) pipeline.Condition {
	c := pipeline.Condition{Position: n.Position(), Status: pipeline.RunOn{Success: true}}
	known := fields{
		"status": func(n pipeline.Node) { c.Status = p.status(n) },
		"paths":  func(n pipeline.Node) { c.Path.Match = p.match(n) },
	}
	for key, match := range map[string]*pipeline.Match{
		"branch": &c.Branch, "event": &c.Event, "action": &c.Action, "ref": &c.Ref, "repo": &c.Repo,
		"instance": &c.Instance, "target": &c.Deploy, "cron": &c.Cron,
	} {
		known[key] = func(n pipeline.Node) { *match = p.match(n) }
	}
	p.object(n, known, "matrix", "local")
	return c
}

// match reads a pattern, a list of them, or a map of include and exclude.
func (p *parser) match(n pipeline.Node) pipeline.Match {
	var m pipeline.Match
	if n.Kind() != "map" {
		m.Include = p.either(n, p.Pattern)
		return m
	}
	p.object(n, fields{
		"include": func(n pipeline.Node) { m.Include = p.either(n, p.Pattern) },
		"exclude": func(n pipeline.Node) { m.Exclude = p.either(n, p.Pattern) },
	})
	return m
}

// status is by Drone's rule: on success, unless failure is among what it names.
func (p *parser) status(n pipeline.Node) pipeline.RunOn {
	m := p.match(n)
	has := func(word string) bool {
		return !slices.Contains(m.Exclude, word) && (len(m.Include) == 0 || slices.Contains(m.Include, word))
	}
	if !has("failure") || len(m.Include)+len(m.Exclude) == 0 {
		return pipeline.RunOn{Success: true}
	}
	return pipeline.RunOn{Success: has("success"), Failure: true}
}

// hasConditions reports whether a condition is about more than how steps ended.
func hasConditions(c pipeline.Condition) bool {
	c.Status, c.Position = pipeline.RunOn{}, pipeline.Position{}
	p := pipeline.Pipeline{Steps: []pipeline.Step{{When: []pipeline.Condition{c}}}}
	return p.HasConditions()
}

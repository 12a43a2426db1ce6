package export

import (
	"reflect"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/tree"
)

// events of each format, with the words of the other.
var events = map[Format][]string{
	Drone:      {"push", "pull_request", "tag", "promote", "rollback", "cron", "custom"},
	Woodpecker: {"push", "pull_request", "pull_request_closed", "pull_request_metadata", "tag", "release", "deployment", "cron", "manual"},
}

// droneEvents are Woodpecker's words for events that Drone has under others.
var droneEvents = map[string]string{"promote": "deployment", "custom": "manual"}

// eventIn is the word of the format for an event of the other; "" for none.
func eventIn(from, to Format, event string) string {
	if from != Drone {
		from = Woodpecker // a native file has its words
	}
	if slices.Contains(events[to], event) {
		return event
	}
	for drone, woodpecker := range droneEvents {
		switch {
		case to == Drone && woodpecker == event:
			return drone
		case to == Woodpecker && drone == event:
			return woodpecker
		}
	}
	return ""
}

// held are the events for which a condition on events holds, in the words of the format. Those
// that the format does not have never happen there.
func (e *exporter) held(m pipeline.Match) []string {
	source := e.from
	if source == Native {
		source = Woodpecker
	}
	all := slices.Clone(events[source])
	if e.from == Native {
		all = append(all, "promote", "rollback")
	}
	matches := func(patterns []string, event string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := doublestar.Match(pattern, event)
			return ok && err == nil
		})
	}
	var held []string
	for _, event := range all {
		if matches(m.Exclude, event) || len(m.Include) > 0 && !matches(m.Include, event) {
			continue
		}
		word := eventIn(e.from, e.to, event)
		if word == "" && matches(m.Include, event) && slices.Contains(m.Include, event) {
			e.loss("the event %s does not exist in %s", event, e.title)
		}
		if word != "" && !slices.Contains(held, word) {
			held = append(held, word)
		}
	}
	return held
}

// isGiven reports whether a match asks for anything.
func isGiven(m pipeline.Match) bool { return len(m.Include)+len(m.Exclude) > 0 }

// match is a list of patterns, or a map of those to include and to exclude.
func match(m pipeline.Match) *yaml.Node {
	if len(m.Exclude) == 0 {
		return texts(m.Include)
	}
	o := tree.NewMap()
	o.Put("include", texts(m.Include))
	o.Put("exclude", texts(m.Exclude))
	return o.Node
}

// status is by words; nil on success, which need not be said.
func (e *exporter) status(on pipeline.RunOn) *yaml.Node {
	switch {
	case on.Cancel:
		e.refuse("when.status", "it runs after a cancel, too")
	case on.Failure && on.Success:
		return texts([]string{"success", "failure"})
	case on.Failure:
		return texts([]string{"failure"})
	}
	return nil
}

// refs is a condition on the ref, with that on the tag.
func refs(c *pipeline.Condition) (pipeline.Match, bool) {
	if !isGiven(c.Tag) {
		return c.Ref, true
	}
	ref := pipeline.Match{}
	for _, pattern := range c.Tag.Include {
		ref.Include = append(ref.Include, "refs/tags/"+pattern)
	}
	if len(c.Tag.Include) == 0 {
		ref.Include = []string{"refs/tags/**"}
	}
	for _, pattern := range c.Tag.Exclude {
		ref.Exclude = append(ref.Exclude, "refs/tags/"+pattern)
	}
	return ref, !isGiven(c.Ref)
}

// droneCondition writes when or trigger.
func (e *exporter) droneCondition(conditions []pipeline.Condition, key string) *yaml.Node {
	if len(conditions) == 0 {
		return nil
	}
	if len(conditions) > 1 {
		conditions = e.merged(conditions)
	}
	if len(conditions) == 0 {
		e.refuse(key+".event", "Drone has none of the events")
		return nil
	}
	if len(conditions) > 1 {
		e.refuse(key, "it is a list of conditions")
		return nil
	}
	c, o := &conditions[0], tree.NewMap()
	for word, given := range map[string]bool{"platform": isGiven(c.Platform), "path": isGiven(c.Path.Match), "matrix": len(c.Matrix) > 0, "evaluate": c.Evaluate != ""} {
		if given {
			e.refuse(key+"."+word, "")
		}
	}
	if isGiven(c.Event) {
		held := e.held(c.Event)
		if len(held) == 0 {
			e.refuse(key+".event", strings.Join(c.Event.Include, ", ")+" do not exist there")
		}
		if len(held) < len(events[Drone]) {
			o.Put("event", texts(held))
		}
	}
	ref, alone := refs(c)
	if !alone {
		e.refuse(key+".tag", "beside ref")
	}
	o.Put("branch", match(c.Branch))
	o.Put("action", match(c.Action))
	o.Put("ref", match(ref))
	o.Put("repo", match(c.Repo))
	o.Put("instance", match(c.Instance))
	o.Put("target", match(c.Deploy))
	o.Put("cron", match(c.Cron))
	o.Put("status", e.status(c.Status))
	return o.Filled()
}

// merged drops conditions of events that Drone does not have, and makes one of those that differ in
// their events only. Woodpecker's conditions were split by events, because not all of their parts
// count for each.
func (e *exporter) merged(conditions []pipeline.Condition) []pipeline.Condition {
	var merged []pipeline.Condition
	for _, c := range conditions {
		if isGiven(c.Event) {
			held := e.held(c.Event)
			if len(held) == 0 {
				continue
			}
			if c.Event = (pipeline.Match{Include: e.words(held)}); len(held) == len(events[Drone]) {
				c.Event = pipeline.Match{}
			}
		}
		same := slices.IndexFunc(merged, func(other pipeline.Condition) bool { return differInEventsOnly(other, c) })
		switch {
		case same < 0:
			merged = append(merged, c)
		case !isGiven(c.Event):
			merged[same].Event = pipeline.Match{}
		case isGiven(merged[same].Event):
			merged[same].Event.Include = slices.Concat(merged[same].Event.Include, c.Event.Include)
		}
	}
	return merged
}

// words are the words of the source for events of the format that is written.
func (e *exporter) words(written []string) []string {
	var words []string
	for _, event := range written {
		words = append(words, eventIn(e.to, e.from, event))
	}
	return words
}

func differInEventsOnly(a, b pipeline.Condition) bool {
	a.Event, b.Event = pipeline.Match{}, pipeline.Match{}
	a.Position, b.Position = pipeline.Position{}, pipeline.Position{}
	return reflect.DeepEqual(a, b)
}

// woodpeckerConditions writes when. Some parts of a condition count for some events only: the
// others are left out of its events, so that no step runs which would not have.
func (e *exporter) woodpeckerConditions(conditions []pipeline.Condition, key string) *yaml.Node {
	l := tree.NewList()
	for i := range conditions {
		c, o := &conditions[i], tree.NewMap()
		if isGiven(c.Action) {
			e.refuse(key+".action", "")
		}
		held := e.held(c.Event)
		narrow := func(part string, given bool, counts func(event string) bool) {
			before := len(held)
			if given {
				held = slices.DeleteFunc(held, func(event string) bool { return !counts(event) })
			}
			if len(held) < before && e.from == Drone {
				e.loss("a condition on %s leaves out events for which it does not count in Woodpecker: %s is left", part, strings.Join(held, ", "))
			}
		}
		narrow("branch", isGiven(c.Branch), func(event string) bool { return event != "tag" })
		narrow("cron", isGiven(c.Cron), func(event string) bool { return event == "cron" })
		narrow("path", isGiven(c.Path.Match), func(event string) bool { return event == "push" || strings.HasPrefix(event, "pull_request") })
		if len(held) == 0 {
			e.refuse(key+".event", "no event is left for which all parts of the condition count")
		}
		if len(held) < len(events[Woodpecker]) {
			o.Put("event", texts(held))
		}
		ref, alone := refs(c)
		if !alone {
			e.refuse(key+".tag", "beside ref")
		}
		o.Put("branch", match(c.Branch))
		o.Put("ref", match(ref))
		o.Put("repo", match(c.Repo))
		o.Put("instance", match(c.Instance))
		o.Put("platform", match(c.Platform))
		o.Put("cron", match(c.Cron))
		o.Put("path", e.path(c.Path))
		axes := tree.NewMap()
		for _, axis := range c.Matrix {
			if len(axis.Exclude) > 0 || len(axis.Include) != 1 {
				e.refuse(key+".matrix."+axis.Axis, "more than one value")
				continue
			}
			axes.Put(axis.Axis, tree.Text(axis.Include[0]))
		}
		o.Put("matrix", axes.Filled())
		o.Put("evaluate", e.evaluate(c, key))
		o.Put("status", e.status(c.Status))
		if len(o.Node.Content) == 0 {
			return nil // it holds always
		}
		l.Content = append(l.Content, o.Node)
	}
	if len(l.Content) == 0 {
		return nil
	}
	return l
}

func (e *exporter) path(m pipeline.PathMatch) *yaml.Node {
	if !isGiven(m.Match) {
		return nil
	}
	o := tree.NewMap()
	o.Put("include", texts(m.Include))
	o.Put("exclude", texts(m.Exclude))
	if m.NotOnEmpty {
		o.Put("on_empty", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "false"})
	}
	return o.Node
}

// evaluate is the expression of a condition, with that on the target of a deployment.
func (e *exporter) evaluate(c *pipeline.Condition, key string) *yaml.Node {
	if c.Evaluate != "" && e.from != Woodpecker {
		e.refuse(key+".evaluate", "its names are those of stepexec")
	}
	if !isGiven(c.Deploy) {
		if c.Evaluate == "" {
			return nil
		}
		return tree.Text(c.Evaluate)
	}
	if len(c.Deploy.Exclude) > 0 || slices.ContainsFunc(c.Deploy.Include, func(name string) bool { return strings.ContainsAny(name, `*?[]{}\"`) }) {
		e.refuse(key+".deploy", "patterns")
	}
	return tree.Text(`CI_PIPELINE_DEPLOY_TARGET in ["` + strings.Join(c.Deploy.Include, `", "`) + `"]`)
}

package engine

import (
	"slices"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// emit masks an event that is not a line and passes it on.
func (r *run) emit(e event.Event) {
	e = r.labelled(e)
	e.Name, e.Image = r.fixed.String(e.Name), r.fixed.String(e.Image)
	e.Text, e.Error = r.mask.String(e.Text), r.mask.String(e.Error)
	if e.Result != nil {
		shown := r.shown(*e.Result)
		e.Result = &shown
	}
	r.feed.put(e)
}

// emitLines passes on lines of a stream that is masked already.
func (r *run) emitLines(e event.Event, lines []logs.Line) {
	e.Kind = event.Line
	r.feed.putLines(r.labelled(e), lines)
}

// labelled returns an event with its time, cell and step.
func (r *run) labelled(e event.Event) event.Event {
	e.Time, e.Cell, e.Step = time.Now(), r.fixed.String(r.plan.Cell), r.fixed.String(e.Step)
	return e
}

// shown returns a result without secrets. Values that steps had masked are masked in texts and
// values, but not in names, by which people and programs know the steps.
func (r *run) shown(s event.StepResult) event.StepResult {
	s.Step, s.Image, s.File = r.fixed.String(s.Step), r.fixed.String(s.Image), r.fixed.String(s.File)
	s.WaitedFor, s.Output = r.fixed.String(s.WaitedFor), r.fixed.String(s.Output)
	var dependsOn []string
	for _, name := range s.DependsOn {
		dependsOn = append(dependsOn, r.fixed.String(name))
	}
	s.DependsOn = dependsOn
	s.Reason, s.Error = r.mask.String(s.Reason), r.mask.String(s.Error)
	if s.Outputs != nil {
		outputs := map[string]string{}
		for name, value := range s.Outputs {
			outputs[r.mask.String(name)] = r.mask.String(value)
		}
		s.Outputs = outputs
	}
	var attempts []event.Attempt
	for _, a := range s.Attempts {
		a.Error = r.mask.String(a.Error)
		attempts = append(attempts, a)
	}
	s.Attempts = attempts
	var egress []event.Connection
	for _, c := range s.Egress {
		c.Name = r.mask.String(c.Name) // a step can ask for SECRET.example.com
		c.Also = slices.Clone(c.Also)
		for i := range c.Also {
			c.Also[i] = r.mask.String(c.Also[i])
		}
		egress = append(egress, c)
	}
	s.Egress = egress
	var artifacts []event.Artifact
	for _, a := range s.Artifacts {
		a.Name, a.Folder = r.fixed.String(a.Name), r.fixed.String(a.Folder)
		artifacts = append(artifacts, a)
	}
	s.Artifacts = artifacts
	s.Caches = slices.Clone(s.Caches)
	for i := range s.Caches {
		s.Caches[i].Name = r.fixed.String(s.Caches[i].Name)
	}
	s.Tests = r.shownTests(s.Tests)
	return s
}

// shownTests returns what test reports say without secrets.
func (r *run) shownTests(tests *event.Tests) *event.Tests {
	if tests == nil {
		return nil
	}
	t := *tests
	t.Failures, t.Slowest, t.Problems = slices.Clone(t.Failures), slices.Clone(t.Slowest), slices.Clone(t.Problems)
	for i := range t.Failures {
		f := &t.Failures[i]
		r.maskTexts(&f.Name, &f.Suite, &f.File, &f.Message, &f.Text)
	}
	for i := range t.Slowest {
		r.maskTexts(&t.Slowest[i].Name, &t.Slowest[i].Suite)
	}
	for i := range t.Problems {
		r.maskTexts(&t.Problems[i])
	}
	return &t
}

func (r *run) maskTexts(texts ...*string) {
	for _, text := range texts {
		*text = r.mask.String(*text)
	}
}

// outputLimit bounds how many bytes of a step's output become events.
func (r *run) outputLimit(n *node) int64 {
	limit := r.o.Limits.Output
	if limit == 0 {
		limit = DefaultOutputLimit
	}
	if own := n.step.OutputLimit; own > 0 {
		limit = min(limit, own)
	}
	return limit
}

package report

import (
	"slices"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// Quoted returns an event whose texts are safe to show, except what a step itself printed: names,
// images, files and errors come from files of strangers, and must not look like another line. Every
// display and the Collector begin with it; the stream of JSON has its own quoting.
func Quoted(e event.Event) event.Event {
	if e.Kind == event.Line { // the text is the step's own
		line := event.Event{Time: e.Time, Kind: e.Kind, Cell: e.Cell, Step: e.Step, Stream: e.Stream, Text: e.Text, Partial: e.Partial}
		quote(&line.Cell, &line.Step, &line.Stream)
		return line
	}
	quote(&e.Cell, &e.Step, &e.Stream, &e.Run, &e.Name, &e.Image, &e.Digest, &e.SignedBy, &e.File)
	quoteLines(&e.Error, &e.Text)
	if e.Build != nil {
		b := *e.Build
		quote(&b.Repo, &b.Event, &b.Branch, &b.Tag, &b.Ref, &b.Commit, &b.Message, &b.Author)
		e.Build = &b
	}
	if e.Result != nil {
		r := quotedResult(*e.Result)
		e.Result = &r
	}
	if e.Summary != nil {
		s := *e.Summary
		quote(&s.Run, &s.Name)
		quote((*string)(&s.Status))
		quoteLines(&s.Error)
		s.Steps = slices.Clone(s.Steps)
		for i := range s.Steps {
			s.Steps[i] = quotedResult(s.Steps[i])
		}
		e.Summary = &s
	}
	return e
}

func quotedResult(r event.StepResult) event.StepResult {
	quote(&r.Step, &r.File, &r.Image, &r.Digest, (*string)(&r.Status), &r.Output, &r.DoneIn, &r.WaitedFor)
	quoteLines(&r.Error, &r.Reason)
	r.DependsOn = slices.Clone(r.DependsOn)
	for i := range r.DependsOn {
		quote(&r.DependsOn[i])
	}
	r.Attempts = slices.Clone(r.Attempts)
	for i := range r.Attempts {
		quote((*string)(&r.Attempts[i].Status))
		quoteLines(&r.Attempts[i].Error)
	}
	r.Egress = slices.Clone(r.Egress)
	for i := range r.Egress {
		c := &r.Egress[i]
		quote(&c.Kind, &c.Name, &c.Address, &c.Protocol)
		c.Also = slices.Clone(c.Also)
		for j := range c.Also {
			quote(&c.Also[j])
		}
	}
	r.Caches = slices.Clone(r.Caches)
	for i := range r.Caches {
		quote(&r.Caches[i].Name, &r.Caches[i].Restored)
	}
	r.Artifacts = slices.Clone(r.Artifacts)
	for i := range r.Artifacts {
		quote(&r.Artifacts[i].Name, &r.Artifacts[i].Folder)
	}
	r.Tests = quotedTests(r.Tests)
	if len(r.Outputs) > 0 {
		outputs := make(map[string]string, len(r.Outputs))
		for name, value := range r.Outputs {
			quote(&name)
			quoteLines(&value)
			outputs[name] = value
		}
		r.Outputs = outputs
	}
	return r
}

func quotedTests(tests *event.Tests) *event.Tests {
	if tests == nil {
		return nil
	}
	t := *tests
	t.Failures, t.Slowest, t.Problems = slices.Clone(t.Failures), slices.Clone(t.Slowest), slices.Clone(t.Problems)
	for i := range t.Failures {
		f := &t.Failures[i]
		quote(&f.Name, &f.Suite, &f.File)
		quoteLines(&f.Message, &f.Text)
	}
	for i := range t.Slowest {
		quote(&t.Slowest[i].Name, &t.Slowest[i].Suite)
	}
	for i := range t.Problems {
		quote(&t.Problems[i])
	}
	return &t
}

func quote(texts ...*string) {
	for _, text := range texts {
		if *text != "" { // as most are
			*text = logs.Quote(*text)
		}
	}
}

// quoteLines quotes texts of several lines. The displays mark all lines but the first.
func quoteLines(texts ...*string) {
	for _, text := range texts {
		*text = logs.QuoteLines(*text, "")
	}
}

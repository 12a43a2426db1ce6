package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/stepexec/stepexec/event"
)

// Collector gathers the events of a run, or of the runs of a matrix, for a
// report. Its methods are called by one goroutine at a time.
type Collector struct {
	runs   []*Run
	byCell map[string]*Run
	steps  map[*Run]map[string]*Step
	keep   keeper
	failed string
}

// NewCollector returns a Collector that keeps up to maxLogBytes of logs, after
// compression; 0: DefaultLogBytes.
func NewCollector(maxLogBytes int) *Collector {
	if maxLogBytes <= 0 {
		maxLogBytes = DefaultLogBytes
	}
	return &Collector{byCell: map[string]*Run{}, steps: map[*Run]map[string]*Step{}, keep: keeper{most: maxLogBytes}}
}

// Plan begins a run of which the plan is known, so that also steps of which no
// event tells are in the report. The events with this cell are that run's.
func (c *Collector) Plan(cell, id, name string, started time.Time, steps []event.StepResult) {
	run := c.begin(cell, id, name, started)
	for _, s := range steps {
		step := c.step(run, s.Step)
		step.StepResult = s
		step.Status = event.Pending
	}
}

// Event adds an event.
func (c *Collector) Event(e event.Event) {
	run := c.byCell[e.Cell]
	switch {
	case e.Kind == event.MatrixFinished:
		return
	case e.Kind == event.Failure:
		c.fail(e)
		return
	case e.Kind == event.RunStarted && run != nil && run.ID == e.Run: // Plan was called
		run.Started = e.Time
		return
	case e.Kind == event.RunStarted || run == nil:
		run = c.begin(e.Cell, e.Run, e.Name, e.Time)
	}
	switch e.Kind {
	case event.PullFinished:
		run.Images = append(run.Images, Image{Name: e.Image, Digest: e.Digest, Duration: e.Duration, Error: e.Error})
	case event.Warning:
		text := e.Text
		if e.Step != "" {
			text = e.Step + ": " + text
		}
		run.Warnings = append(run.Warnings, text)
	case event.StepStarted:
		s := c.step(run, e.Step)
		s.Image, s.Service, s.Status, s.Started = e.Image, e.Service, event.Running, e.Time
	case event.Line:
		c.keep.add(c.step(run, e.Step).Log, e)
	case event.StepRetried:
		s := c.step(run, e.Step)
		s.Retries = append(s.Retries, e.Text)
		s.Status = event.Pending
	case event.StepFinished:
		if e.Result != nil {
			c.step(run, e.Step).StepResult = *e.Result
		}
	case event.RunFinished:
		if e.Summary != nil {
			c.finish(run, e.Summary)
		}
	}
}

// fail adds a failure of stepexec's own.
func (c *Collector) fail(e event.Event) {
	text := e.Error
	if e.File != "" {
		text = fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
	}
	if c.failed != "" {
		text = c.failed + "\n" + text
	}
	c.failed = text
}

// begin begins a run.
func (c *Collector) begin(cell, id, name string, started time.Time) *Run {
	run := &Run{ID: id, Name: name, Status: event.Running, Started: started}
	c.runs = append(c.runs, run)
	c.byCell[cell], c.steps[run] = run, map[string]*Step{}
	return run
}

func (c *Collector) step(run *Run, name string) *Step {
	s := c.steps[run][name]
	if s == nil {
		s = &Step{StepResult: event.StepResult{Step: name, Status: event.Pending}, Log: c.keep.newLog()}
		c.steps[run][name] = s
		run.Steps = append(run.Steps, s)
	}
	return s
}

// finish takes over how a run ended. The steps come in the order of the file then.
func (c *Collector) finish(run *Run, s *event.Summary) {
	run.ID, run.Name, run.Finished = s.Run, s.Name, true
	run.Status, run.ExitCode, run.Error, run.Duration = s.Status, s.ExitCode, s.Error, s.Duration
	run.Steps = nil
	for _, result := range s.Steps {
		step := c.step(run, result.Step)
		step.StepResult = result
		if !slices.Contains(run.Steps, step) {
			run.Steps = append(run.Steps, step)
		}
	}
}

// Report is the report on what was told so far. The Collector is of no use any
// more after it.
func (c *Collector) Report() *Report {
	r := &Report{Made: time.Now(), Runs: c.runs, Error: c.failed}
	for _, run := range r.Runs {
		for _, s := range run.Steps {
			c.keep.press(s.Log)
		}
		run.markCritical()
	}
	return r
}

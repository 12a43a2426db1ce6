package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

// Collector gathers the events of a run, or of the runs of a matrix, for a
// report. Its methods must not be called by two goroutines at once.
type Collector struct {
	runs   []*Run
	byCell map[string]*Run
	steps  map[*Run]map[string]*StepReport // steps of each run, by name
	keep   keeper
	failed string // errors of stepexec itself, outside any step, a line each
}

// NewCollector returns a Collector that keeps up to maxLogBytes of compressed logs; 0
// means DefaultLogBytes.
func NewCollector(maxLogBytes int) *Collector {
	if maxLogBytes <= 0 {
		maxLogBytes = DefaultLogBytes
	}
	return &Collector{byCell: map[string]*Run{}, steps: map[*Run]map[string]*StepReport{}, keep: keeper{most: maxLogBytes}}
}

// Plan begins a run whose plan is known, so that the report also has the steps that no
// event mentions. Events with this cell belong to the run.
func (c *Collector) Plan(cell, id, name string, started time.Time, steps []event.StepResult) {
	quote(&cell, &id, &name)
	run := c.begin(cell, id, name, started)
	for _, s := range steps {
		s = quotedResult(s)
		step := c.step(run, s.Step)
		step.StepResult = s
		step.Status = event.Pending
	}
}

// Event adds an event.
func (c *Collector) Event(e event.Event) { event.Visit(collectorEvents{c}, Quoted(e)) }

// collectorEvents is what a Collector keeps of each kind of event.
type collectorEvents struct{ *Collector }

func (c collectorEvents) PullStarted(event.Event)    {} // PullFinished has all of it
func (c collectorEvents) PullProgress(event.Event)   {} // of no interest once the image is there
func (c collectorEvents) MatrixFinished(event.Event) {} // the runs have all of it

func (c collectorEvents) RunStarted(e event.Event) {
	if run := c.byCell[e.Cell]; run != nil && run.ID == e.Run { // Plan was called
		run.Started, run.Build, run.Position = e.Time, e.Build, e.Position
		return
	}
	run := c.begin(e.Cell, e.Run, e.Name, e.Time)
	run.Build, run.Position = e.Build, e.Position
}

func (c collectorEvents) PullFinished(e event.Event) {
	run := c.run(e)
	run.Images = append(run.Images, Image{Name: e.Image, Digest: e.Digest, SignedBy: e.SignedBy, Duration: e.Duration, Error: e.Error})
}

func (c collectorEvents) Warning(e event.Event) {
	text := e.Text
	if e.Step != "" {
		text = e.Step + ": " + text
	}
	run := c.run(e)
	run.Warnings = append(run.Warnings, text)
}

func (c collectorEvents) StepStarted(e event.Event) {
	s := c.step(c.run(e), e.Step)
	s.Image, s.Service, s.Status, s.Started = e.Image, e.Service, event.Running, e.Time
}

func (c collectorEvents) Line(e event.Event) { c.keep.add(c.step(c.run(e), e.Step).Log, e) }

func (c collectorEvents) StepRetried(e event.Event) {
	s := c.step(c.run(e), e.Step)
	s.Retries = append(s.Retries, e.Text)
	s.Status = event.Pending
}

func (c collectorEvents) StepFinished(e event.Event) {
	if e.Result != nil {
		c.step(c.run(e), e.Step).StepResult = *e.Result
	}
}

func (c collectorEvents) StepKept(e event.Event) {
	c.step(c.run(e), e.Step).Kept = strings.TrimPrefix(e.Text, "kept: ")
}

func (c collectorEvents) RunFinished(e event.Event) {
	if e.Summary != nil {
		c.finish(c.run(e), e.Summary)
	}
}

// Failure adds an error of stepexec itself.
func (c collectorEvents) Failure(e event.Event) {
	text := e.Error
	if e.File != "" {
		text = fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
	}
	if c.failed != "" {
		text = c.failed + "\n" + text
	}
	c.failed = text
}

// run returns the run of an event. A record that lost its beginning begins with any kind.
func (c *Collector) run(e event.Event) *Run {
	if run := c.byCell[e.Cell]; run != nil {
		return run
	}
	return c.begin(e.Cell, e.Run, e.Name, e.Time)
}

// begin begins a run.
func (c *Collector) begin(cell, id, name string, started time.Time) *Run {
	run := &Run{ID: id, Name: name, Status: event.Running, Started: started}
	c.runs = append(c.runs, run)
	c.byCell[cell], c.steps[run] = run, map[string]*StepReport{}
	return run
}

func (c *Collector) step(run *Run, name string) *StepReport {
	s := c.steps[run][name]
	if s == nil {
		s = &StepReport{StepResult: event.StepResult{Step: name, Status: event.Pending}, Log: c.keep.newLog()}
		c.steps[run][name] = s
		run.Steps = append(run.Steps, s)
	}
	return s
}

// finish takes over the summary of a run, and with it the order of the steps in the file.
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

// ordered returns the runs in the order of their file: parallel ones begin in any order.
func (c *Collector) ordered() []*Run {
	return slices.SortedStableFunc(slices.Values(c.runs), func(a, b *Run) int { return cmp.Compare(a.Position, b.Position) })
}

// Now returns the report on the events so far. More events do not change it, except that the logs of its
// steps grow: whoever reads them holds back the next event meanwhile.
func (c *Collector) Now() *Report {
	r := &Report{Made: time.Now(), Error: c.failed}
	for _, run := range c.ordered() {
		now := *run
		now.Steps = nil
		for _, s := range run.Steps {
			step := *s
			now.Steps = append(now.Steps, &step)
		}
		now.markCritical()
		r.Runs = append(r.Runs, &now)
	}
	return r
}

// Report returns the report on the events so far. The Collector must not be used after it.
func (c *Collector) Report() *Report {
	r := &Report{Made: time.Now(), Runs: c.ordered(), Error: c.failed}
	for _, run := range r.Runs {
		for _, s := range run.Steps {
			c.keep.press(s.Log)
		}
		run.markCritical()
	}
	return r
}

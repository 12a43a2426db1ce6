package report

import (
	"slices"
	"time"

	"github.com/stepexec/stepexec/event"
)

// Report is what is known of one run, or of the runs of a matrix: while it runs, after it
// has ended, or after its process died. A Collector makes it.
type Report struct {
	Made  time.Time
	Runs  []*Run
	Error string // error of stepexec itself, outside any step; masked
}

// Run is one run of a report.
type Run struct {
	ID       string
	Name     string       // name of the pipeline, with the cell of its matrix
	Build    *event.Build // what was built; nil: not known
	Status   event.Status
	ExitCode int
	Error    string
	Position int // place among the runs of its file, from 1; 0: it is the only one, or not known
	Started  time.Time
	Duration event.Millis  // 0 unless finished
	Finished bool          // false: it still runs, or its process died
	Steps    []*StepReport // services first, then steps, in the order of the file
	Images   []Image
	Warnings []string
	Past     []PastRun   // earlier runs of its pipeline, the newest last
	Compared *Comparison // with the last of them; nil: there is none
	Flaky    []FlakyTest // by them and this one
}

// Image is how a run got an image.
type Image struct {
	Name     string       `json:"image"`
	Digest   string       `json:"digest,omitempty"`
	SignedBy string       `json:"signed_by,omitempty"` // key that signed it, where a rule asks for a signature
	Duration event.Millis `json:"duration_ms"`
	Error    string       `json:"error,omitempty"`
}

// StepReport is one step of a report.
type StepReport struct {
	event.StepResult
	Log      *Log
	Retries  []string // how each attempt but the last ended, in words
	Kept     string   // command that opens a shell in what the step left; "": it was not kept
	Critical bool     // the step is in the chain of steps that took the run's time
}

// Died is the status of a run whose process ended before the run did, and of the
// steps that ran then.
const Died event.Status = "died"

// MarkDied marks the runs that have not finished as died, except those that are alive.
func (r *Report) MarkDied(lives func(run string) bool) {
	for _, run := range r.Runs {
		if run.Finished || lives(run.ID) {
			continue
		}
		run.Status, run.ExitCode, run.Error = Died, event.CodeError, "stepexec was killed before the run's end"
		for _, s := range run.Steps {
			if s.Status == event.Running {
				s.Status = Died
			}
		}
	}
}

// Status is the status of all runs together: that of the first run that did not succeed.
func (r *Report) Status() event.Status {
	for _, run := range r.Runs {
		if run.Status != event.Succeeded {
			return run.Status
		}
	}
	if r.Error != "" || len(r.Runs) == 0 {
		return event.Failed
	}
	return event.Succeeded
}

// results are the results of the steps.
func (r *Run) results() (all []event.StepResult) {
	for _, s := range r.Steps {
		all = append(all, s.StepResult)
	}
	return all
}

// end is the time at which the step's command ended.
func (s *StepReport) end() time.Time { return s.Started.Add(time.Duration(s.Duration)) }

// isBeside reports whether the run did not wait for a step's end.
func (s *StepReport) isBeside() bool { return s.Service || s.Detached }

// isBad reports whether a reader looks for this step first.
func (s *StepReport) isBad() bool {
	switch s.Status {
	case event.Failed, event.TimedOut:
		return !s.Ignored
	case event.Cancelled:
		return !s.Started.IsZero()
	}
	return s.Status == Died
}

// markCritical marks the chain of steps that took the run's time: the step that
// ended last, the one that it waited for last, and so on.
func (r *Run) markCritical() {
	var last *StepReport
	for _, s := range r.Steps {
		if !s.isBeside() && !s.Started.IsZero() && (last == nil || s.end().After(last.end())) {
			last = s
		}
	}
	for last != nil && !last.Critical {
		last.Critical = true
		before := last.WaitedFor
		i := slices.IndexFunc(r.Steps, func(s *StepReport) bool { return s.Step == before })
		if i < 0 {
			return
		}
		last = r.Steps[i]
	}
}

package drone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// reporter turns the events of a run into reports of its steps. Each step has a goroutine
// that talks to the server, so a slow server or none at all does not hold the run.
type reporter struct {
	w       *worker
	steps   map[string]*stepLog
	order   []*stepLog
	notices []string // for the log of the step that begins first
	sending sync.WaitGroup
	summary *event.Summary
}

func newReporter(w *worker, s *stage, warnings pipeline.Errors) *reporter {
	r := &reporter{w: w, steps: map[string]*stepLog{}}
	for _, warning := range warnings {
		r.notices = append(r.notices, "stepexec: warning: "+warning.Error())
	}
	for _, step := range s.Steps {
		l := newStepLog(w, step)
		r.steps[step.Name] = l
		r.order = append(r.order, l)
	}
	return r
}

// event is called for one at a time.
func (r *reporter) event(e event.Event) {
	log := r.steps[e.Step]
	switch {
	case e.Kind == event.RunFinished:
		r.summary = e.Summary
	case e.Kind == event.Warning && log == nil:
		r.notices = append(r.notices, "stepexec: warning: "+e.Text)
	case log == nil:
	case e.Kind == event.StepStarted:
		r.begin(log, e.Time)
	case e.Kind == event.Line:
		text := e.Text
		if !e.Partial {
			text += "\n"
		}
		log.add(text)
	case e.Kind == event.StepRetried, e.Kind == event.Warning:
		log.add("stepexec: " + e.Text + "\n")
	case e.Kind == event.StepFinished && e.Result != nil:
		r.finish(log, e.Result, e.Time)
	}
}

func (r *reporter) begin(log *stepLog, when time.Time) {
	if !log.begin(when) {
		return
	}
	for _, notice := range r.notices {
		log.add(notice + "\n")
	}
	r.notices = nil
	r.sending.Go(log.send)
}

// finish says how a step ended.
func (r *reporter) finish(log *stepLog, result *event.StepResult, when time.Time) {
	end := ending{status: statusFailure, code: result.ExitCode, text: result.Error, when: when}
	began := !log.began.IsZero()
	switch result.Status {
	case event.Succeeded:
		end.status = statusSuccess
	case event.Stopped: // a service or a detached step has done what it should
		end.status, end.code, end.text = statusSuccess, 0, ""
	case event.Skipped:
		end = ending{status: statusSkipped, when: when}
	case event.Cancelled, event.TimedOut:
		end.status, end.code = statusKilled, codeKilled
		if result.NotReady {
			end.status, end.code = statusFailure, event.CodeTimeout
		}
	default:
		if result.Started.IsZero() { // it could not be started
			end.status, end.code = statusError, codeError
		} else if (result.Service || result.Detached) && !result.NotReady {
			end.status, end.code = statusSuccess, 0 // what became of it after its start is not looked at
		}
	}
	if end.text != "" && end.status != statusSuccess {
		log.add("stepexec: " + end.text + "\n")
	}
	log.finish(end)
	r.w.stats.count(r.w.stats.steps, end.status)
	if !began {
		r.sending.Go(log.send)
	}
}

// end ends the reports, when the run is over, and returns how the stage ended.
func (r *reporter) end(ctx context.Context, err error) (status string, stageErr error) {
	told := false
	for _, log := range r.order {
		if log.isFinished() {
			continue
		}
		end := ending{status: statusSkipped, when: time.Now()}
		if ctx.Err() != nil {
			end.status, end.code = statusKilled, codeKilled
		} else if err != nil && !told {
			end = ending{status: statusError, code: codeError, text: err.Error(), when: time.Now()}
			log.add("stepexec: " + err.Error() + "\n")
		}
		told = true
		began := !log.began.IsZero()
		log.finish(end)
		if !began {
			r.sending.Go(log.send)
		}
	}
	r.sending.Wait()
	if err != nil && !told { // all steps have ended: it is about what could not be cleared away
		r.w.o.Say(fmt.Sprintf("warning: %v", err))
		err = nil
	}
	return r.status(err)
}

// status is how the stage ended.
func (r *reporter) status(err error) (string, error) {
	switch {
	case err != nil:
		return statusError, err
	case r.summary == nil:
		return statusError, errors.New("the run has not ended as it should")
	case r.summary.Status == event.Cancelled:
		return statusKilled, nil
	case r.summary.Status == event.TimedOut:
		return statusKilled, errors.New(r.summary.Error)
	}
	counts := func(s *stepLog) bool { return !s.step.ErrIgnore }
	if i := slices.IndexFunc(r.order, func(s *stepLog) bool { return counts(s) && s.end.status == statusError }); i >= 0 {
		return statusError, errors.New(r.order[i].step.Name + ": " + r.order[i].end.text)
	}
	if r.summary.Status != event.Succeeded {
		return statusFailure, nil
	}
	return statusSuccess, nil
}

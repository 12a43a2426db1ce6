package drone

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/runner"
)

// reporter turns the events of a run into reports of its steps. Each step has a goroutine
// that talks to the server, so a slow server or none at all does not hold the run.
type reporter struct {
	w       *worker
	build   *runner.Build
	steps   map[string]*stepLog
	order   []*stepLog
	notices []string // warnings for the log of the step that begins first
	sending sync.WaitGroup
	lost    chan error // panic of the first goroutine that reports a step and met one
	summary *event.Summary
}

func newReporter(w *worker, b *runner.Build, s *stage, warnings pipeline.Errors) *reporter {
	r := &reporter{w: w, build: b, steps: map[string]*stepLog{}, lost: make(chan error, 1)}
	for _, warning := range warnings {
		r.notices = append(r.notices, "stepexec: warning: "+warning.Error())
	}
	for _, step := range s.Steps {
		l := newStepLog(w, step)
		if step.ID != 0 {
			l.kept = w.keep(stepFile(step.ID), record{Step: step})
		}
		r.steps[step.Name] = l
		r.order = append(r.order, l)
	}
	return r
}

// event receives one event at a time.
func (r *reporter) event(e *event.Event) { event.Visit(reporterEvents{r}, *e) }

// reporterEvents is what a reporter does with each kind of event. Steps that the server does
// not know have no log.
type reporterEvents struct{ *reporter }

func (r reporterEvents) RunStarted(event.Event)     {} // the build was accepted already
func (r reporterEvents) PullStarted(event.Event)    {} // the server has no place for it
func (r reporterEvents) PullProgress(event.Event)   {} // a log would fill with it
func (r reporterEvents) PullFinished(event.Event)   {} // an error is the step's
func (r reporterEvents) MatrixFinished(event.Event) {} // each cell is a build of its own
func (r reporterEvents) Failure(event.Event)        {} // the error of the build says it

func (r reporterEvents) StepStarted(e event.Event) {
	if log := r.steps[e.Step]; log != nil {
		r.begin(log, e.Time)
	}
}

func (r reporterEvents) Line(e event.Event) {
	log := r.steps[e.Step]
	if log == nil {
		return
	}
	text := e.Text
	if !e.Partial {
		text += "\n"
	}
	if text = log.cards.take(text); text == "\n" && e.Text != "" {
		return // nothing but a card
	}
	log.addLines(text)
}

func (r reporterEvents) StepRetried(e event.Event) {
	if log := r.steps[e.Step]; log != nil {
		log.addLines(log.cards.release())
	}
	r.say(e)
}

// StepKept goes to the runner's own log: the log of the step is complete, and the command works
// only on this machine.
func (r reporterEvents) StepKept(e event.Event) { r.w.o.Say("step " + e.Step + " " + e.Text) }

func (r reporterEvents) Warning(e event.Event) {
	if r.steps[e.Step] == nil {
		r.notices = append(r.notices, "stepexec: warning: "+e.Text)
		return
	}
	r.say(e)
}

// say writes stepexec's own words into the log of a step.
func (r reporterEvents) say(e event.Event) {
	if log := r.steps[e.Step]; log != nil {
		log.add("stepexec: " + e.Text + "\n")
	}
}

func (r reporterEvents) StepFinished(e event.Event) {
	if log := r.steps[e.Step]; log != nil && e.Result != nil {
		r.finish(log, e.Result, e.Time)
	}
}

func (r reporterEvents) RunFinished(e event.Event) { r.summary = e.Summary }

func (r *reporter) begin(log *stepLog, when time.Time) {
	if !log.begin(when) {
		return
	}
	for _, notice := range r.notices {
		log.add(notice + "\n")
	}
	r.notices = nil
	r.send(log)
}

// send reports a step beside the run. A panic there loses reports of this step alone, and
// fails the stage.
func (r *reporter) send(log *stepLog) {
	r.sending.Go(func() {
		err := r.build.Protect(func() error {
			log.send(r.w.life.Calls)
			return nil
		})
		if err != nil {
			select {
			case r.lost <- err:
			default:
			}
		}
	})
}

// finish says how a step ended.
func (r *reporter) finish(log *stepLog, result *event.StepResult, when time.Time) {
	end := ending{status: statusFailure, code: result.ExitCode, text: result.Error, when: when}
	began := !log.began.IsZero()
	log.addLines(log.cards.release())
	switch status := result.Status; {
	case status == event.Succeeded:
		end.status = statusSuccess
	case status == event.Stopped: // a service or a detached step has done what it should
		end.status, end.code, end.text = statusSuccess, 0, ""
	case status == event.Skipped, !began && status == event.Cancelled, !began && status == event.TimedOut && !result.NotReady:
		end = ending{status: statusSkipped, when: when}
	case status == event.Cancelled, status == event.TimedOut:
		end.status, end.code = statusKilled, codeKilled
		if result.NotReady {
			end.status, end.code = statusFailure, event.CodeTimeout
		}
	default:
		if result.Started.IsZero() { // it could not be started
			end.status, end.code = statusError, codeError
		} else if (result.Service || result.Detached) && !result.NotReady && !result.EndedEarly {
			end.status, end.code = statusSuccess, 0 // Drone does not look at it after its start
		}
	}
	if end.text != "" && end.status != statusSuccess {
		log.add("stepexec: " + end.text + "\n")
	}
	log.finish(end)
	r.w.stats.StepEnded(end.status)
	r.w.stats.StepTook(result)
	if !began {
		r.send(log)
	}
}

// end ends the reports, when the run is over, and returns how the stage ended.
func (r *reporter) end(err error) (status string, stageErr error) {
	told := false
	for _, log := range r.order {
		if log.isFinished() {
			continue
		}
		log.addLines(log.cards.release())
		end := ending{status: statusSkipped, when: time.Now()}
		if r.build.Cause() != nil && !log.began.IsZero() {
			end.status, end.code = statusKilled, codeKilled
		} else if err != nil && !told && r.build.Cause() == nil {
			end = ending{status: statusError, code: codeError, text: err.Error(), when: time.Now()}
			log.add("stepexec: " + err.Error() + "\n")
		}
		told = true
		began := !log.began.IsZero()
		log.finish(end)
		if !began {
			r.send(log)
		}
	}
	r.sending.Wait()
	select {
	case lost := <-r.lost:
		err = errors.Join(err, lost)
	default:
	}
	var c *crash.Error
	if err != nil && !told && !errors.As(err, &c) { // all steps have ended: something could not be cleared away
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
		return statusError, errors.New("the run ended without a result")
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

// ranToItsEnd reports whether a run has ended by itself. Its events have all come.
func (r *reporter) ranToItsEnd() bool {
	return r.summary != nil && (r.summary.Status == event.Succeeded || r.summary.Status == event.Failed)
}

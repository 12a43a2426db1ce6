package woodpecker

import (
	"cmp"
	"fmt"
	"time"

	"github.com/stepexec/stepexec/event"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// Exit codes and texts by which servers show an end that is not a command's.
const (
	codeKilled   = 137
	textCanceled = "canceled"
)

// slowPull is the duration from which a step's log mentions the pull of its image.
const slowPull = time.Second

// reporter turns the events of a run into reports. It is called by one goroutine at a time.
type reporter struct {
	outbox *outbox
	stats  *runner.Stats
	say    func(string)
	steps  map[string]*stepReport // by the names that they have in the pipeline
	pulled map[string]string      // lines about slow pulls, by image
	failed bool                   // a step whose failure counts has failed
}

// stepReport is a step with what the server knows about it.
type stepReport struct {
	*workflows.Step
	started time.Time
	lines   int32
	ended   bool
}

func newReporter(o *outbox, s *runner.Stats, say func(string), steps map[string]*workflows.Step) *reporter {
	r := &reporter{outbox: o, stats: s, say: say, steps: map[string]*stepReport{}, pulled: map[string]string{}}
	for name, step := range steps {
		r.steps[name] = &stepReport{Step: step}
	}
	return r
}

// event receives one event at a time.
func (r *reporter) event(e *event.Event) { event.Visit(reporterEvents{r}, *e) }

// reporterEvents is what a reporter does with each kind of event. It reports nothing about
// steps that the server does not know.
type reporterEvents struct{ *reporter }

func (r reporterEvents) RunStarted(event.Event)     {} // the workflow was accepted already
func (r reporterEvents) PullStarted(event.Event)    {} // the server has no place for it
func (r reporterEvents) PullProgress(event.Event)   {} // a log would fill with it
func (r reporterEvents) MatrixFinished(event.Event) {} // each cell is a workflow of its own
func (r reporterEvents) RunFinished(event.Event)    {} // the steps have all of it
func (r reporterEvents) Failure(event.Event)        {} // the error of the workflow says it

func (r reporterEvents) PullFinished(e event.Event) {
	if e.Error == "" && time.Duration(e.Duration) > slowPull {
		r.pulled[e.Image] = fmt.Sprintf("pulled %s in %v (%s)", e.Image, time.Duration(e.Duration).Round(100*time.Millisecond), e.Digest)
	}
}

func (r reporterEvents) StepStarted(e event.Event) {
	if step := r.steps[e.Step]; step != nil {
		r.begin(step, e)
	}
}

func (r reporterEvents) Line(e event.Event) {
	if step := r.steps[e.Step]; step != nil {
		r.line(step, e.Text)
	}
}

func (r reporterEvents) StepRetried(e event.Event) { r.own(e) }

// StepKept goes to the agent's own log: the log of the step is complete, and the command works
// only on this machine.
func (r reporterEvents) StepKept(e event.Event) {
	r.say("workflow " + r.outbox.workflow + ": step " + e.Step + " " + e.Text)
}

func (r reporterEvents) Warning(e event.Event) {
	if r.steps[e.Step] == nil {
		r.say("warning: workflow " + r.outbox.workflow + ": " + e.Text)
		return
	}
	r.own(e)
}

// own writes stepexec's own words into the log of a step.
func (r reporterEvents) own(e event.Event) {
	if step := r.steps[e.Step]; step != nil {
		r.line(step, "stepexec: "+e.Text)
	}
}

func (r reporterEvents) StepFinished(e event.Event) {
	if step := r.steps[e.Step]; step != nil && e.Result != nil {
		r.end(step, e.Result, e.Time)
	}
}

// begin reports the start of a step's first attempt.
func (r *reporter) begin(step *stepReport, e event.Event) {
	if !step.started.IsZero() {
		return
	}
	step.started = e.Time
	r.outbox.put(report{step: &wire.StepState{StepUuid: step.UUID, Started: e.Time.Unix()}})
	if text := r.pulled[e.Image]; text != "" {
		r.line(step, "stepexec: "+text)
		delete(r.pulled, e.Image)
	}
}

func (r *reporter) line(step *stepReport, text string) {
	entry := &wire.LogEntry{StepUuid: step.UUID, Line: step.lines, Data: []byte(text)}
	if !step.started.IsZero() {
		entry.Time = int64(time.Since(step.started).Seconds())
	}
	step.lines++
	r.outbox.put(report{line: entry})
}

// end reports the end of a step.
func (r *reporter) end(step *stepReport, result *event.StepResult, at time.Time) {
	if step.ended {
		return
	}
	step.ended = true
	r.stats.StepEnded(string(result.Status))
	r.stats.StepTook(result)
	state := &wire.StepState{StepUuid: step.UUID, Started: seconds(step.started), Finished: at.Unix(), Exited: true, ExitCode: int32(result.ExitCode)}
	switch result.Status {
	case event.Succeeded, event.Stopped:
		state.ExitCode = 0 // a service that was stopped has done what it should
	case event.Skipped:
		state = skipped(step)
	case event.Cancelled:
		if step.started.IsZero() {
			state = skipped(step)
			break
		}
		state.Canceled, state.ExitCode, state.Error = true, codeKilled, textCanceled
	case event.TimedOut:
		if step.started.IsZero() {
			state = skipped(step)
			break
		}
		state.Error = cmp.Or(result.Error, "the step's time is over")
	default:
		state.ExitCode = int32(cmp.Or(result.ExitCode, event.CodeError)) // a failure is never green
		state.Error = result.Error
	}
	if state.Error != "" && !state.Canceled {
		r.line(step, "stepexec: "+state.Error)
	}
	if state.Exited && state.ExitCode != 0 && step.Failure != "ignore" {
		r.failed = true
	}
	r.outbox.put(report{step: state})
}

func skipped(step *stepReport) *wire.StepState {
	return &wire.StepState{StepUuid: step.UUID, Skipped: true}
}

// never reports steps that run neither on success nor on failure.
func (r *reporter) never(steps []*workflows.Step) {
	for _, step := range steps {
		r.outbox.put(report{step: skipped(&stepReport{Step: step})})
	}
}

// fail reports a workflow that could not run: the first step that has not ended gets the
// error, because people look there, and the others are skipped. It reports whether there was
// such a step.
func (r *reporter) fail(order []*workflows.Step, err error) (told bool) {
	for _, s := range order {
		step := &stepReport{Step: s}
		for _, known := range r.steps {
			if known.Step == s {
				step = known
			}
		}
		if step.ended {
			continue
		}
		step.ended = true
		if told {
			r.outbox.put(report{step: skipped(step)})
			continue
		}
		told, r.failed = true, true
		now := time.Now()
		if step.started.IsZero() {
			step.started = now
			r.outbox.put(report{step: &wire.StepState{StepUuid: s.UUID, Started: now.Unix()}})
		}
		r.line(step, "stepexec: "+err.Error())
		r.outbox.put(report{step: &wire.StepState{
			StepUuid: s.UUID, Started: seconds(step.started), Finished: now.Unix(), Exited: true, ExitCode: event.CodeError, Error: err.Error(),
		}})
	}
	return told
}

// seconds is a time in Unix seconds; 0 for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

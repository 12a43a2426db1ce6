package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stepexec/stepexec/event"
)

// name is the name of the pipeline, with the cell of its matrix. It is not masked.
func (r *run) name() string {
	if r.plan.Cell == "" || r.plan.Cell == r.plan.Name {
		return r.plan.Name
	}
	return r.plan.Name + " (" + r.plan.Cell + ")"
}

// summary describes the end of the run. The exit code is that of the step that failed
// first, unless the run as a whole was ended.
func (r *run) summary(ctx context.Context, took time.Duration) event.Summary {
	s := event.Summary{Run: r.o.Host.ID(), Name: r.fixed.String(r.name()), Status: event.Succeeded, Duration: event.Millis(took)}
	for _, n := range r.nodes {
		s.Steps = append(s.Steps, n.result)
	}
	for i, step := range r.leftOut() {
		s.Steps = slices.Insert(s.Steps, len(r.services)+r.plan.LeftOut[i].Before+i, step)
	}
	r.mu.Lock()
	s.Steps = append(s.Steps, r.added...)
	if r.first != nil {
		s.Status, s.ExitCode = r.first.status, r.first.code
	}
	r.mu.Unlock()
	if ctx.Err() != nil && r.cutShort() {
		s.Status, s.ExitCode = endedBy(ctx)
		s.Error = r.mask.String(context.Cause(ctx).Error())
	}
	if s.Status != event.Succeeded && s.ExitCode == 0 {
		s.ExitCode = event.CodeError // a failure is never green
	}
	for i := range s.Steps {
		s.Steps[i] = r.shown(s.Steps[i])
	}
	return s
}

// leftOut are the results of the steps whose conditions are not met.
func (r *run) leftOut() []event.StepResult {
	var results []event.StepResult
	for _, step := range r.plan.LeftOut {
		results = append(results, event.StepResult{Step: step.Name, File: cmp.Or(step.File, r.plan.File), Line: step.Line, Image: step.Image, Status: event.Skipped, Reason: step.Reason})
	}
	return results
}

// cutShort reports whether the end of the run's context ended any step.
func (r *run) cutShort() bool {
	for _, n := range r.nodes {
		if n.result.Status == event.Cancelled || n.result.Status == event.TimedOut {
			return true
		}
	}
	return false
}

// endedBy is the status and exit code of whatever ran under a context that has ended.
func endedBy(ctx context.Context) (event.Status, int) {
	if cause := context.Cause(ctx); errors.Is(cause, errTimeout) || errors.Is(cause, errStepTimeout) {
		return event.TimedOut, event.CodeTimeout
	}
	return event.Cancelled, event.CodeInterrupted
}

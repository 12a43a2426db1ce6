package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// attempts runs a step, and repeats it as the step says. Each attempt has a container of
// its own and the whole of the step's time.
func (r *run) attempts(ctx context.Context, n *node, foreseen *prepared) outcome {
	retry := n.step.Retry
	got := n.work.exports
	for {
		attempt := n.work.attempt
		n.work.exports = maps.Clone(got)
		end := r.attempt(ctx, n, foreseen)
		last := attempt >= retry.Attempts || ctx.Err() != nil || !retriable(retry, n, end)
		if retry.Attempts > 1 && (attempt > 1 || !last) {
			n.result.Attempts = append(n.result.Attempts, r.attemptResult(n, end))
		}
		if last {
			return end
		}
		pause := retry.Pause(attempt)
		r.emit(event.Event{Kind: event.StepRetried, Step: n.step.Name, Text: fmt.Sprintf("attempt %d of %d: %s; again in %s", attempt, retry.Attempts, end, pipeline.DurationText(pause))})
		if !sleep(ctx, pause) {
			return end
		}
		r.dropRoot(n)
		n.again()
		foreseen = nil
	}
}

// again begins a further attempt: it takes back what the last one left in the result.
func (n *node) again() {
	n.life.move(starting)
	n.work.attempt++
	n.result.Started, n.result.Duration, n.result.Start = time.Time{}, 0, 0
	n.result.OOM, n.result.Usage, n.result.Outputs = false, nil, nil
}

// attempt runs a step once.
func (r *run) attempt(ctx context.Context, n *node, foreseen *prepared) outcome {
	if n.step.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, n.step.Timeout, overdue(errStepTimeout, n.step.Timeout))
		defer cancel()
	}
	return r.execute(ctx, ctx, n, foreseen)
}

// retriable reports whether an attempt with this outcome is to be followed by another.
func retriable(retry pipeline.Retry, n *node, end outcome) bool {
	if end.status == event.Succeeded {
		return false
	}
	if len(retry.Causes)+len(retry.ExitCodes) == 0 {
		return true
	}
	var cause pipeline.RetryCause
	switch {
	case end.status == event.TimedOut:
		cause = pipeline.CauseTimeout
	case n.result.OOM:
		cause = pipeline.CauseOOM
	case end.code == event.CodeError && end.err != nil: // and not the command's own 125
		cause = pipeline.CauseError
	default:
		return slices.Contains(retry.ExitCodes, end.code)
	}
	return slices.Contains(retry.Causes, cause)
}

func (r *run) attemptResult(n *node, end outcome) event.Attempt {
	a := event.Attempt{Status: end.status, ExitCode: end.code, OOM: n.result.OOM, Started: n.result.Started, Duration: n.result.Duration}
	if end.err != nil {
		a.Error = r.mask.String(end.err.Error())
	}
	return a
}

// sleep waits; it returns false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

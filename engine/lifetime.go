package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultCleanup is the time that steps which always run have after the run was cancelled.
const DefaultCleanup = time.Minute

var (
	errFailFast = errors.New("another step failed, and the pipeline fails fast")
	errKilled   = errors.New("interrupted again")
)

// lifetimes are contexts that bound how long steps may live.
type lifetimes struct {
	normal context.Context // of steps that run on success only; ends at the first failure if the pipeline fails fast
	run    context.Context // of steps that run after a failure
	always context.Context // of steps that always run; ends a while after the run was cancelled
	fail   func()          // ends normal, when the pipeline or a step fails fast
}

// newLifetimes makes the contexts of a run. end must be called.
func (r *run) newLifetimes(ctx context.Context) (l lifetimes, end func()) {
	l.run = ctx
	normal, endNormal := context.WithCancelCause(ctx)
	l.normal, l.fail = normal, func() { endNormal(errFailFast) }
	always, endAlways := context.WithCancelCause(context.WithoutCancel(ctx))
	l.always = always
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
		case <-always.Done():
			return
		}
		timer := time.NewTimer(r.o.Stop.Cleanup)
		defer timer.Stop()
		select {
		case <-timer.C:
			endAlways(fmt.Errorf("%w; the %v for steps that always run are over", context.Cause(ctx), r.o.Stop.Cleanup))
		case <-r.o.Stop.Kill:
			endAlways(errKilled)
		case <-always.Done():
		}
	}()
	return l, func() {
		endNormal(nil)
		endAlways(nil)
		<-watched
	}
}

// of returns the context of a step.
func (l *lifetimes) of(n *node) context.Context {
	switch on := n.step.RunOn; {
	case on.Cancel:
		return l.always
	case on.Failure:
		return l.run
	}
	return l.normal
}

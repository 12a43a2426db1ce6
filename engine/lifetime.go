package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultCleanup is the time that steps which run always have after a run was
// cancelled.
const DefaultCleanup = time.Minute

var (
	errFailFast = errors.New("another step failed, and the pipeline fails fast")
	errKilled   = errors.New("interrupted again")
)

// lifetimes are how long steps may live.
type lifetimes struct {
	normal context.Context // of those that run on success only: to the first failure, where the pipeline fails fast
	run    context.Context // of those that run after a failure
	always context.Context // of those that run also after the run was cancelled: a while longer
	fail   func()          // ends normal, where the pipeline or the step fails fast
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
			endAlways(fmt.Errorf("%w; the %v for what runs always are over", context.Cause(ctx), r.o.Stop.Cleanup))
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

// of is the context of a step.
func (l *lifetimes) of(n *node) context.Context {
	switch on := n.step.RunOn; {
	case on.Cancel:
		return l.always
	case on.Failure:
		return l.run
	}
	return l.normal
}

package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stepexec/stepexec/pipeline"
)

// counted is a context that knows how many wait for its end.
type counted struct {
	context.Context
	waiting atomic.Int32
}

// Value hides the context's own cancelling, so that package context asks AfterFunc.
func (c *counted) Value(any) any { return nil }

// AfterFunc implements the method that package context looks for in contexts of others.
func (c *counted) AfterFunc(f func()) (stop func() bool) {
	c.waiting.Add(1)
	again := context.AfterFunc(c.Context, f)
	return func() bool { c.waiting.Add(-1); return again() }
}

// A run may last for days, and have thousands of steps whose readiness is watched.
func TestWatchingForReadinessLeavesNothingWaiting(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"with a time": time.Hour, "without": 0} {
		t.Run(name, func(t *testing.T) {
			parent, cancel := context.WithCancel(t.Context())
			defer cancel()
			ctx, lasting := &counted{Context: parent}, &counted{Context: parent}
			n := &node{step: &pipeline.PlannedStep{}, life: newLife()}
			rd := &readiness{node: n, printed: newPrinted(), timeout: timeout}
			_, over := rd.begin(ctx, lasting, n, nil)
			rd.close()
			over()
			if ctx.waiting.Load() != 0 || lasting.waiting.Load() != 0 {
				t.Errorf("still waiting: %d for the step's context, %d for the lasting one", ctx.waiting.Load(), lasting.waiting.Load())
			}
		})
	}
}

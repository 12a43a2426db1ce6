package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// runtimeTimeout bounds one call of the runtime, which takes milliseconds.
const runtimeTimeout = 2 * time.Minute

// call returns the context of a call of the runtime. It outlives ctx, because a runtime that is killed
// leaves a half-made container, but only for as long as a step may take to stop: otherwise a runtime
// that hangs would hold up the end of an interrupted run. The cause says why the call was killed.
func (s Stopping) call(ctx context.Context) (context.Context, context.CancelFunc) {
	calling, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), runtimeTimeout, fmt.Errorf("the runtime has not ended after %v", runtimeTimeout))
	calling, kill := context.WithCancelCause(calling)
	go func() { // ends with the call
		select {
		case <-calling.Done():
			return
		case <-s.Now:
		case <-ctx.Done():
			select {
			case <-calling.Done():
				return
			case <-s.Now:
			case <-time.After(cmp.Or(s.Grace, runtimeTimeout)):
			}
		}
		kill(fmt.Errorf("%w, and the runtime was still at work", cmp.Or(context.Cause(ctx), errors.New("interrupted again"))))
	}()
	return calling, cancel
}

// killedBy returns why a call of the runtime was killed, and otherwise the error of the call.
func killedBy(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// removal returns the context of a call that removes a container. Even a run that is killed gives it a
// moment: the container may have hooks that run at its end.
func (s Stopping) removal() (context.Context, context.CancelFunc) {
	killed, kill := context.WithCancelCause(context.Background())
	calling, cancel := Stopping{Grace: orphanTime}.call(killed)
	go func() { // ends with the call
		select {
		case <-s.Now:
		case <-calling.Done():
		}
		kill(errors.New("interrupted again"))
	}()
	return calling, cancel
}

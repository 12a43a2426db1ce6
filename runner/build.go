package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stepexec/stepexec/crash"
)

// Causes of the end of a build's context.
var (
	ErrCancelled = errors.New("cancelled on the server")
	ErrKilled    = errors.New("the runner was shut down")

	errOver = errors.New("the build is over")
)

// DefaultTimeout is the timeout of a build whose server names none.
const DefaultTimeout = time.Hour

const maxTimeout = 365 * 24 * time.Hour

// Timeout turns a server's timeout in minutes into a duration.
func Timeout(minutes int64) time.Duration {
	if minutes <= 0 {
		return DefaultTimeout
	}
	return time.Duration(min(minutes, int64(maxTimeout/time.Minute))) * time.Minute
}

// Build is one build that a runner works on.
type Build struct {
	Context context.Context // ends when the build is over, or earlier: see Cause

	name     string // for the runner's log
	say      func(line string)
	cancel   context.CancelCauseFunc
	watchers sync.WaitGroup
}

// Begin begins a build. When the runner is killed, the build is cancelled with ErrKilled. The
// caller calls End.
func (l *Life) Begin(name string) *Build {
	ctx, cancel := context.WithCancelCause(l.Calls)
	b := &Build{Context: ctx, name: name, say: l.service.Say, cancel: cancel}
	b.Watch(func(ctx context.Context) {
		select {
		case <-l.service.Kill:
			cancel(ErrKilled)
		case <-ctx.Done():
		}
	})
	return b
}

// Cancel ends the build's context because the server has cancelled the build.
func (b *Build) Cancel() { b.cancel(ErrCancelled) }

// Cause says why the build was ended before its end: ErrCancelled, ErrKilled, or the panic of
// a watcher. It is nil for a build that goes on, or came to its end.
func (b *Build) Cause() error {
	if cause := context.Cause(b.Context); cause != errOver {
		return cause
	}
	return nil
}

// Watch runs a watcher beside the build until the build's context ends. A watcher that panics
// ends the build: its cancel could not reach the build any more.
func (b *Build) Watch(watcher func(context.Context)) {
	b.watchers.Go(func() {
		err := b.Protect(func() error {
			watcher(b.Context)
			return nil
		})
		if err != nil {
			b.cancel(err)
		}
	})
}

// Protect runs a part of the build. A panic there becomes the error, and its stack goes to
// the runner's log: the other builds of the runner go on.
func (b *Build) Protect(part func() error) error { return Protect(b.say, b.name, part) }

// End ends the build's context and waits until its watchers have ended.
func (b *Build) End() {
	b.cancel(errOver)
	b.watchers.Wait()
}

// Protect runs a part of a build, whose name is for the log. A panic there becomes the error,
// and its stack goes to the log.
func Protect(say func(line string), name string, part func() error) (err error) {
	defer func() {
		if c, ok := err.(*crash.Error); ok {
			say(fmt.Sprintf("error: %s: %s", name, c.Log()))
		}
	}()
	defer crash.Recover(&err)
	return part()
}

package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/stepexec/stepexec/runner/health"
)

// GoodbyeTime is how long a runner that was killed may still report how its builds ended.
const GoodbyeTime = 15 * time.Second

// Service is a runner seen from outside: how it is told to end, where it answers questions
// about its health, and where it writes its log.
type Service struct {
	Kill            <-chan struct{}   // closed: builds are cancelled, and the runner ends GoodbyeTime later at the latest
	HealthByDefault bool              // nobody has asked for HealthAddress: a warning where it cannot be had
	HealthAddress   string            // for /healthz and /metrics, such as :3000; "": none
	Listening       func(net.Addr)    // receives the address of HealthAddress; nil: nobody
	Health          health.Runner     // answers there
	Say             func(line string) // writes a line to the runner's own log
}

// Life is a runner at work.
type Life struct {
	Polling context.Context // for requests of new work; ends when the runner drains
	Calls   context.Context // for calls about work that has begun; outlives Polling

	service *Service
	told    context.Context // ends when the runner is told to drain
	stop    context.CancelCauseFunc
}

// errEnough ends Polling without a failure.
var errEnough = errors.New("the runner has done its work")

// Run calls work, which polls for builds and runs them until Life.Polling ends, and returns
// when every goroutine of the service has ended. ctx tells the runner to drain. The error is
// that of work, or the failure that ended Polling.
func (s *Service) Run(ctx context.Context, work func(*Life) error) error {
	calls, endCalls := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endCalls(nil)
	polling, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	background, endBackground := context.WithCancel(calls)
	var others sync.WaitGroup
	defer others.Wait()
	defer endBackground()
	l := &Life{Polling: polling, Calls: calls, service: s, told: ctx, stop: stop}
	others.Go(func() { s.sayGoodbye(background, endCalls) })
	if s.HealthAddress != "" {
		others.Go(func() {
			if err := health.Serve(background, s.HealthAddress, s.Health, s.Listening); err != nil && s.HealthByDefault {
				s.Say(fmt.Sprintf("warning: no /healthz and /metrics: %v", err))
			} else if err != nil {
				l.Fail(err)
			}
		})
	}
	return errors.Join(work(l), l.failure())
}

// sayGoodbye ends all calls some time after the runner was killed.
func (s *Service) sayGoodbye(ctx context.Context, endCalls context.CancelCauseFunc) {
	select {
	case <-s.Kill:
	case <-ctx.Done():
		return
	}
	if Pause(ctx, GoodbyeTime) {
		endCalls(ErrKilled)
	}
}

// Fail ends Polling because the runner cannot work any more. The first failure counts.
func (l *Life) Fail(err error) { l.stop(err) }

// Finish ends Polling because the runner shall take no more work.
func (l *Life) Finish() { l.stop(errEnough) }

// failure is the reason why Polling ended; nil when the runner was told to end, or has
// finished.
func (l *Life) failure() error {
	if l.told.Err() != nil || l.Polling.Err() == nil {
		return nil
	}
	if err := context.Cause(l.Polling); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

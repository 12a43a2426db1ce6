package sandbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox"
)

// The step ends while programs are started in it, by the runtime or by a fork server, at any moment of their start, by itself or by being stopped.
func TestStepEndsWhileProgramsAreStartedInIt(t *testing.T) {
	host, layer := openHost(t), libraries(t)
	for _, test := range []struct {
		name, script string
		stopped      bool
		forks        bool
	}{
		{"by itself", "sleep 0.0%d", false, false},
		{"stopped", "sleep 1000; : %d", true, false},
		{"by itself, with a fork server", "sleep 0.1; sleep 0.0%d", false, true},
		{"stopped, with a fork server", "sleep 1000; : %d", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 20 {
				moment := 1 + rand.IntN(8)
				step := script(t, fmt.Sprintf(test.script, moment))
				step.Lowerdirs = append(step.Lowerdirs, layer)
				_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					must(t, s.Start(ctx))
					if test.forks {
						_ = s.ServeExecs(ctx) // the step may have ended
					}
					var programs sync.WaitGroup
					for range 3 {
						programs.Go(func() { // its error depends on the moment
							_, _ = s.Exec(ctx, sandbox.ExecOptions{Args: []string{"sleep", "1000"}})
						})
					}
					if test.stopped {
						time.AfterFunc(time.Duration(moment)*10*time.Millisecond, stop)
					}
					awaitStep(ctx, t, s)
					programs.Wait()
				})
				must(t, err)
			}
		})
	}
}

// awaitStep waits for a step that must end within a minute.
func awaitStep(ctx context.Context, t *testing.T, s *sandbox.Sandbox) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Wait(ctx, sandbox.Stopping{})
		ended <- err
	}()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the step has not ended")
	}
}

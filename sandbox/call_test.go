package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// hangingRuntime is the real runtime, but one of its commands never ends. In that, it writes its pid to
// the FIFO at the returned path.
func hangingRuntime(t *testing.T, command string) (runtime, pids string) {
	t.Helper()
	real, err := exec.LookPath(testRuntime())
	must(t, err)
	dir := t.TempDir()
	runtime, pids = filepath.Join(dir, "runtime"), filepath.Join(dir, "pids")
	must(t, unix.Mkfifo(pids, 0o600))
	write(t, runtime, fmt.Sprintf("#!/bin/sh\nfor word; do\n[ \"$word\" != %s ] || { echo $$ >%s; exec sleep 1000000; }\ndone\nexec %s \"$@\"\n", command, pids, real))
	must(t, os.Chmod(runtime, 0o755))
	return runtime, pids
}

// TestRuntimeThatHangsDoesNotHoldUpAnInterruptedRun would end by the runtime's own limit of two
// minutes, with another error, if nothing else ended the call.
func TestRuntimeThatHangsDoesNotHoldUpAnInterruptedRun(t *testing.T) {
	interrupted := errors.New("interrupted")
	for _, command := range []string{"create", "start"} {
		for _, test := range []struct {
			name  string
			grace time.Duration
			again bool
		}{
			{"until its grace is over", time.Millisecond, false},
			{"until it is interrupted again", time.Hour, true},
		} {
			t.Run(command+" "+test.name, func(t *testing.T) {
				runtime, pids := hangingRuntime(t, command)
				kill := make(chan struct{})
				host, err := sandbox.Open(t.Context(), sandbox.Options{
					Root: t.TempDir(), Runtime: runtime, RuntimeCalls: true, Stopping: sandbox.Stopping{Grace: test.grace, Now: kill},
				})
				must(t, err)
				ctx, interrupt := context.WithCancelCause(t.Context())
				hanging := make(chan string, 1)
				go func() { // ends with the call of the runtime
					pid, _ := os.ReadFile(pids)
					interrupt(interrupted)
					if test.again {
						close(kill)
					}
					hanging <- strings.TrimSpace(string(pid))
				}()
				step := script(t, "echo never")
				step.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
				must(t, err)
				defer step.Stdout.Close()
				step.Stderr = step.Stdout
				s, err := host.Prepare(ctx, step)
				if err == nil {
					err = errors.Join(s.Start(ctx), s.Remove())
				}
				if !errors.Is(err, interrupted) || !strings.Contains(err.Error(), "the runtime was still at work") {
					t.Errorf("error %v", err)
				}
				select {
				case text := <-hanging:
					if pid, err := strconv.Atoi(text); err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
						t.Errorf("the runtime, process %q, still runs: %v", text, err)
					}
				case <-time.After(time.Minute):
					t.Fatalf("the runtime was not called to %s", command)
				}
				if err := host.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if left := groupsOf(t, host.ID()); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// TestInitProcessThatHangsDoesNotHoldUpAnInterruptedRun has an init process that was stopped before it
// could execute the command of its step.
func TestInitProcessThatHangsDoesNotHoldUpAnInterruptedRun(t *testing.T) {
	real, err := exec.LookPath(testRuntime())
	must(t, err)
	runtime := filepath.Join(t.TempDir(), "runtime")
	write(t, runtime, fmt.Sprintf(`#!/bin/sh
%s "$@" || exit
while [ $# -gt 0 ]; do
	[ "$1" != --pid-file ] || kill -STOP $(cat "$2")
	shift
done
`, real))
	must(t, os.Chmod(runtime, 0o755))
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: runtime, Stopping: sandbox.Stopping{Grace: time.Millisecond}})
	must(t, err)
	step := script(t, "echo never")
	step.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	must(t, err)
	defer step.Stdout.Close()
	step.Stderr = step.Stdout
	ctx, interrupt := context.WithCancelCause(t.Context())
	s, err := host.Prepare(ctx, step)
	must(t, err)
	interrupted := errors.New("interrupted")
	interrupt(interrupted)
	if err := s.Start(ctx); !errors.Is(err, interrupted) || !strings.Contains(err.Error(), "the runtime was still at work") {
		t.Errorf("error %v", err)
	}
	must(t, errors.Join(s.Remove(), host.Close()))
	if left := groupsOf(t, host.ID()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

package sandbox_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox"
)

func TestCancelledStepGetsItsStopSignal(t *testing.T) {
	tests := []struct {
		name   string
		change func(*sandbox.Step)
		stdout string
		killed string // "": it ended by itself; maybe: it may have
	}{
		{"script is told with its children", func(s *sandbox.Step) {
			s.Script = []byte("sh -c 'trap \"echo child stopped; exit 3\" TERM; echo ready; while :; do sleep 0.01; done'\n")
		}, "ready\nchild stopped\n", "maybe"},
		{"entrypoint gets the image's stop signal", func(s *sandbox.Step) {
			s.Script, s.Entrypoint = nil, []string{"/bin/sh", "-c", "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.01; done"}
			s.Config.StopSignal = "SIGUSR1"
		}, "ready\nusr1\n", ""},
		{"shell between two commands does not sit out its grace", func(s *sandbox.Step) {
			s.Script = []byte("echo ready\nwhile :; do :; done\n")
		}, "ready\n", "yes"},
		{"command without a handler does not either", func(s *sandbox.Step) {
			s.Script, s.Entrypoint = nil, []string{"/bin/sh", "-c", "echo ready; exec sleep 1000"}
		}, "ready\n", "yes"},
		{"child of a shell may finish", func(s *sandbox.Step) {
			s.Script = []byte("sh -c 'trap \"sleep 0.2; echo tidied up; exit 3\" TERM; echo ready; while :; do sleep 0.01; done' || true\nwhile :; do :; done\n")
		}, "ready\ntidied up\n", "yes"},
		{"script has the signal before the command that it waits for", func(s *sandbox.Step) {
			s.Script = []byte("for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done\ntrap 'echo trapped; exit 3' TERM\nsh -c 'echo ready; exec sleep 1000'\n")
		}, "ready\ntrapped\n", ""},
		{"step that ignores its stop signal is killed after the grace", func(s *sandbox.Step) {
			s.Script = []byte("trap '' TERM\necho ready\nwhile :; do sleep 0.01; done\n")
		}, "ready\n", "yes"},
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, "")
			test.change(step)
			grace := time.Hour
			if strings.Contains(test.name, "after the grace") {
				grace = 50 * time.Millisecond
			}
			var exit sandbox.Exit
			out, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
				must(t, s.Start(t.Context()))
				ctx, cancel := context.WithCancel(t.Context())
				waitFor(t, step.Stdout.Name(), "ready\n")
				cancel()
				var err error
				exit, err = s.Wait(ctx, sandbox.Stopping{Grace: grace})
				must(t, err)
			})
			must(t, err)
			if out[0] != test.stdout || test.killed != "maybe" && (exit.Signal != 0) != (test.killed == "yes") {
				t.Errorf("output %q, %+v", out[0], exit)
			}
		})
	}
}

func TestSecondStopKillsAtOnce(t *testing.T) {
	step := script(t, "trap '' TERM\nwhile :; do sleep 0.01; done\n")
	_, err := runStep(t, openHost(t), step, func(s *sandbox.Sandbox) {
		must(t, s.Start(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		now := make(chan struct{})
		close(now)
		exit, err := s.Wait(ctx, sandbox.Stopping{Grace: time.Hour, Now: now})
		must(t, err)
		if exit.Code != 137 {
			t.Errorf("got %+v, want code 137", exit)
		}
	})
	must(t, err)
}

// waitFor reads a file until it holds text; the test's own deadline bounds it.
func waitFor(t *testing.T, path, text string) {
	t.Helper()
	for {
		data, err := os.ReadFile(path)
		must(t, err)
		if strings.Contains(string(data), text) {
			return
		}
		must(t, t.Context().Err())
	}
}

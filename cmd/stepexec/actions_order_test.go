package main

import (
	"fmt"
	"strings"
	"testing"
)

// A shell's trace goes to stderr. The runner shows both streams in one log, where each command
// has to stand in front of what it prints.
func TestHookShowsATraceInOrder(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	var code, want strings.Builder
	code.WriteString("set -x\n")
	for i := range 100 {
		fmt.Fprintf(&code, "echo %d\n", i)
		fmt.Fprintf(&want, "+ echo %d\n%d\n", i, i)
	}
	for range 20 {
		got := r.script(t, code.String())
		if got.code != 0 || got.out != want.String() {
			t.Fatalf("exit code %d; the log is\n%s", got.code, got.out)
		}
	}
}

func TestHookLetsSetuidProgramsWork(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	const status = "grep NoNewPrivs /proc/self/status"
	if got := r.script(t, status); got.out != "NoNewPrivs:\t0\n" {
		t.Errorf("without a policy: %s", got.out)
	}
}

func TestHookLetsGitWorkInTheWorkspace(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	const settings = `echo "$GIT_CONFIG_COUNT $GIT_CONFIG_KEY_0 $GIT_CONFIG_VALUE_0"`
	if got := r.script(t, settings); got.out != "1 safe.directory *\n" {
		t.Errorf("settings of git: %s", got.out)
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// With a cancel ends what a step has started, also in sessions of its own; what an earlier step has
// left in the background stays.
func TestHookCancelsWhatHasLeftTheSession(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	if got := r.script(t, "setsid sleep 300001 > /dev/null 2>&1 &"); got.code != 0 {
		t.Fatal(got.out)
	}
	args := r.scriptArgs(t, "setsid sleep 300002 & (setsid sh -c 'trap \"\" TERM; while :; do sleep 300003; done' > /dev/null 2>&1 &) ; echo x > /__w/up; sleep 300004")
	cmd := r.command(t, map[string]any{"command": "run_script_step", "args": args, "state": r.state})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, filepath.Join(r.dir, "work/up"))
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("the hook ended with %v", err)
	}
	if got := r.script(t, "ps -o args | grep '[s]leep 30000'"); got.out != "sleep 300001\n" {
		t.Errorf("in the container is left %q; want what the earlier step has left", got.out)
	}
}

func TestHookSaysThatAScriptRanOutOfMemory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("without root there may be no memory controller")
	}
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, func(_, container map[string]any) { container["createOptions"] = "--memory 32m --memory-swap 32m" })
	hungry := "tail /dev/zero"
	if got := r.script(t, hungry); got.code != 137 || !strings.Contains(got.out, "::error::stepexec: out of memory: the kernel killed a process of the step, whose memory is limited to 32MiB") {
		t.Errorf("%d, %q", got.code, got.out)
	}
	if got := r.script(t, hungry+" || echo went on"); got.code != 0 || !strings.Contains(got.out, "warning: out of memory") {
		t.Errorf("a step that goes on: %d, %q", got.code, got.out)
	}
	if got := r.script(t, "echo fine"); got.out != "fine\n" {
		t.Errorf("the next step: %d, %q", got.code, got.out)
	}
}

// The job's record has each step with its end and its usage, and is as red as they are.
func TestHookRecordsEachStep(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	args := r.scriptArgs(t, "exit 7")
	args["environmentVariables"] = map[string]any{"GITHUB_ACTION": "__run_2"}
	r.call(t, "run_script_step", args)
	container := r.example(t, "run_container_step")
	container["entryPoint"], container["entryPointArgs"] = "true", []string{}
	r.call(t, "run_container_step", container)
	r.call(t, "cleanup_job", nil)
	record := strings.Join(strings.Fields(r.recorded(t)), "")
	for _, want := range []string{`"step":"script-1(__run_2)"`, `"exit_code":7`, `"step":"container-2"`, `"peak_memory_bytes"`, `"status":"failed","exit_code":7,"duration_ms"`} {
		if !strings.Contains(record, want) {
			t.Errorf("the record lacks %s: %s", want, record)
		}
	}
}

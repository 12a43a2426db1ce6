package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The hook and its keeper are children of the runner, which a race detector in the tests alone
// would not see: here they are a program that was built with it.
func TestHookAndKeeperHaveNoDataRace(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "stepexec")
	build := exec.Command("go", "build", "-race", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("no race detector here: %v: %s", err, out)
	}
	t.Setenv("STEPEXEC", program)
	t.Setenv("GORACE", "atexit_sleep_ms=0 log_path="+filepath.Join(dir, "race"))
	t.Cleanup(func() { // after that of the runner, which ends its job
		found, _ := filepath.Glob(filepath.Join(dir, "race.*"))
		for _, file := range found {
			text, _ := os.ReadFile(file)
			t.Errorf("a data race:\n%s", text)
		}
	})
	r := newBuildRunner(t)
	dockerfile := r.writeAction(t, "octo/seq/v1", map[string]string{"Dockerfile": "FROM " + r.image + "\nRUN seq 1 1000\nENTRYPOINT [\"seq\", \"1\", \"1000\"]\n"})
	port := freePort(t)
	r.prepare(t, func(args, _ map[string]any) {
		service := map[string]any{"image": r.image, "entryPoint": "sleep", "entryPointArgs": []string{"1000"}}
		called := map[string]any{"image": r.image, "entryPoint": "nc", "entryPointArgs": []string{"-l", "-p", port}} // ends when it was called
		args["services"] = []any{service, called}
	})
	var calls sync.WaitGroup
	for range 4 {
		args := r.scriptArgs(t, "seq 1 1000")
		container := r.example(t, "run_container_step")
		container["entryPoint"], container["entryPointArgs"] = "seq", []string{"1", "1000"}
		built := map[string]any{"dockerfile": dockerfile}
		for name, request := range map[string]map[string]any{
			"script": {"command": "run_script_step", "args": args}, "container": {"command": "run_container_step", "args": container},
			"build": {"command": "run_container_step", "args": built},
		} {
			request["state"] = r.state
			cmd := r.command(t, request)
			calls.Go(func() {
				if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "1000\n") {
					t.Errorf("%s: %v: %s", name, err, out)
				}
			})
		}
	}
	sleep := r.example(t, "run_script_step")
	sleep["entryPointArgs"] = []string{"-c", `"echo started; sleep 1000"`}
	r.cancelled(t, "run_script_step", sleep)
	slow := r.writeAction(t, "octo/slow/v1", map[string]string{"Dockerfile": "FROM " + r.image + "\nRUN echo started; sleep 1000\n"})
	r.cancelled(t, "run_container_step", map[string]any{"dockerfile": slow})
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	calls.Wait()
	cmd := r.command(t, map[string]any{"command": "prepare_job", "args": r.neverReady(t)}) // ends the job, and is cancelled
	r.cancel(t, cmd, func() { waitFor(t, filepath.Join(r.dir, "work/up")) })
}

// cancelled calls the hook, and cancels it once the step has printed that it is started.
func (r *hookRunner) cancelled(t *testing.T, command string, args map[string]any) {
	t.Helper()
	cmd := r.command(t, map[string]any{"command": command, "args": args, "state": r.state})
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	r.cancel(t, cmd, func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() && lines.Text() != "started" {
			printed.WriteString(lines.Text() + "\n")
		}
		go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the hook
	})
	if cmd.ProcessState.ExitCode() < 100 {
		t.Errorf("%s: %v: %s", command, cmd.ProcessState, &printed)
	}
}

// cancel starts a hook, and interrupts it after something has happened.
func (r *hookRunner) cancel(t *testing.T, hook *exec.Cmd, after func()) {
	t.Helper()
	if err := hook.Start(); err != nil {
		t.Fatal(err)
	}
	after()
	if err := hook.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = hook.Wait()
}

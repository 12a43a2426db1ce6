package main

import (
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
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, func(args, _ map[string]any) {
		service := map[string]any{"image": r.image, "entryPoint": "sleep", "entryPointArgs": []string{"1000"}}
		quick := map[string]any{"image": r.image, "entryPoint": "sleep", "entryPointArgs": []string{"1"}} // ends among the calls
		args["services"] = []any{service, quick}
	})
	var calls sync.WaitGroup
	for range 4 {
		args := r.scriptArgs(t, "seq 1 1000")
		container := r.example(t, "run_container_step")
		container["entryPoint"], container["entryPointArgs"] = "seq", []string{"1", "1000"}
		for command, args := range map[string]map[string]any{"run_script_step": args, "run_container_step": container} {
			cmd := r.command(t, map[string]any{"command": command, "args": args, "state": r.state})
			calls.Go(func() {
				if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "1000\n") {
					t.Errorf("%s: %v: %s", command, err, out)
				}
			})
		}
	}
	calls.Wait()
}

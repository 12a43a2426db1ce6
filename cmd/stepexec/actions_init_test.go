package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/fixtures"
)

// TestHookContainersWithAnInitProcess has --init in the options of the job's container, of a service
// and of a container action. Process 1 collects the orphans of all steps.
func TestHookContainersWithAnInitProcess(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	args := r.withServices(t, r.serviceOf("cat /proc/1/comm > /noted/service; exec sleep 1000", "--init"))
	args["container"].(map[string]any)["createOptions"] = "--init"
	if got := r.call(t, "prepare_job", args); got.code != 0 {
		t.Fatalf("prepare: %d, %s", got.code, got.out)
	}
	const orphan = "sh -c 'sleep 0.1 &'; sleep 0.5; grep -l '^State:.Z' /proc/[0-9]*/status || echo no zombies; echo process 1 is $(cat /proc/1/comm)"
	for range 2 { // orphans of a step that has ended, too
		got := r.script(t, orphan)
		if got.code != 0 || !strings.Contains(got.out, "no zombies") || !strings.Contains(got.out, "process 1 is init") {
			t.Errorf("in the job: %d, %s", got.code, got.out)
		}
	}
	if got := r.script(t, "cat /__w/service; exit 7"); got.code != 7 || !strings.Contains(got.out, "init") {
		t.Errorf("of the service: %d, %s", got.code, got.out)
	}
	action := r.example(t, "run_container_step")
	action["entryPoint"], action["entryPointArgs"] = "sh", []string{"-c", `"` + orphan + `"`}
	action["createOptions"] = "--init"
	if got := r.call(t, "run_container_step", action); got.code != 0 || !strings.Contains(got.out, "process 1 is init") {
		t.Errorf("action: %d, %s", got.code, got.out)
	}
	if got := r.call(t, "cleanup_job", nil); got.code != 0 {
		t.Errorf("clean-up: %d, %s", got.code, got.out)
	}
}

// libraries are the files that this program, which is stepexec, too, needs in an image: none, unless
// it is linked dynamically.
func libraries(t testing.TB) (files []fixtures.Entry) {
	t.Helper()
	out, _ := exec.Command("ldd", os.Args[0]).CombinedOutput() // it fails for a program without libraries
	for _, word := range strings.Fields(string(out)) {
		if !strings.HasPrefix(word, "/") || strings.HasSuffix(word, ":") {
			continue
		}
		data, err := os.ReadFile(word)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fixtures.File(strings.TrimPrefix(word, "/"), 0o755, string(data)))
	}
	return files
}

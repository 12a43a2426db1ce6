package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stepexec/stepexec/fixtures"
)

var parallelRuns = flag.Int("parallel-runs", 24, "how many runs TestManyRunsShareOneStore starts at once")

// TestManyRunsShareOneStore starts runs at once in a store that does not have
// their image yet.
func TestManyRunsShareOneStore(t *testing.T) {
	dir := t.TempDir()
	if err := fixtures.Busybox(filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	pipeline := filepath.Join(dir, "pipeline.yml")
	if err := os.WriteFile(pipeline, []byte("steps: [{name: ok, image: 'oci:busybox', commands: [ls /bin/busybox]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := killing{root: filepath.Join(dir, "root")}
	var runs sync.WaitGroup
	for range *parallelRuns {
		runs.Go(func() {
			run := exec.CommandContext(t.Context(), "stepexec", "run", pipeline, "--root", k.root)
			out, err := run.Output()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	runs.Wait()
	if left := k.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

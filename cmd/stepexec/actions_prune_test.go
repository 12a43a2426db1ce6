package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What builds of actions keep is removed under the limits of prune, and of the hook.
func TestStorageOfBuildsIsPruned(t *testing.T) {
	r := newBuildRunner(t)
	dockerfile := r.writeAction(t, "octo/hello/v1", map[string]string{"Dockerfile": "FROM " + r.image + "\nENTRYPOINT [\"echo\", \"hello\"]\n"})
	storage := filepath.Join(r.root, "buildah/storage")
	isThere := func() bool { _, err := os.Stat(storage); return err == nil }
	run := func() {
		t.Helper()
		if got := r.call(t, "run_container_step", map[string]any{"dockerfile": dockerfile}); got.code != 0 || !strings.HasSuffix(got.out, "hello\n") {
			t.Fatalf("%d, %s", got.code, got.out)
		}
	}
	for _, test := range []struct {
		command string
		stays   bool
	}{
		{"gc", true},
		{"prune", true},
		{"prune --older-than 1h", true},
		{"prune --keep-storage 10GB", true},
		{"prune --keep-storage 10kB", false},
		{"prune --older-than 1ns", false},
		{"prune --all", false},
	} {
		run()
		out, err := exec.Command("stepexec", append(strings.Fields(test.command), "--root", r.root)...).CombinedOutput()
		if err != nil || isThere() != test.stays || test.stays == strings.Contains(string(out), ": the storage of builds of actions\n") {
			t.Errorf("%s: %v: %s", test.command, err, out)
		}
	}
	r.flags += " --store-limit 10kB"
	run()
	if isThere() {
		t.Error("after a build there is more than the limit of the hook")
	}
}

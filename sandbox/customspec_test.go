package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/sandbox"
)

func TestPatchChangesTheGeneratedSpecification(t *testing.T) {
	for _, test := range []struct{ name, patch, script, want string }{
		{"maps are merged", `{"linux":{"sysctl":{"kernel.msgmax":"4321"}}}`, "cat /proc/sys/kernel/msgmax", "4321\n"},
		{"other values are replaced", `{"process":{"oomScoreAdj":321}}`, "cat /proc/self/oom_score_adj", "321\n"},
		{"null removes", `{"linux":{"seccomp":null}}`, "grep Seccomp: /proc/self/status | tr -s '\\t' ' '", "Seccomp: 0\n"},
		{"the root stays the image's", `{"root":{"path":"/etc"}}`, "test -e /bin/busybox && echo busybox", "busybox\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, test.script)
			step.Advanced.SpecPatch = []byte(test.patch)
			if stdout, stderr, _ := output(t, openHost(t), step); stdout != test.want {
				t.Errorf("got %q %q, want %q", stdout, stderr, test.want)
			}
		})
	}
}

func TestSpecificationsThatCannotRunAreRefused(t *testing.T) {
	for _, test := range []struct {
		name, want string
		set        func(*sandbox.Advanced)
	}{
		{"no process", "process.args is missing", func(a *sandbox.Advanced) { a.Spec = []byte(`{}`) }},
		{"wrong type", "cannot unmarshal", func(a *sandbox.Advanced) { a.Spec = []byte(`{"process":[]}`) }},
		{"patch that removes the process", "spec_patch: process.args is missing", func(a *sandbox.Advanced) { a.SpecPatch = []byte(`{"process":null}`) }},
		{"patch of a wrong type", "spec_patch: json: cannot unmarshal", func(a *sandbox.Advanced) { a.SpecPatch = []byte(`{"linux":1}`) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, "true")
			test.set(&step.Advanced)
			box, err := openHost(t).Prepare(t.Context(), step)
			if err == nil {
				t.Fatal("no error", box.Remove())
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestRawSpecificationRunsAsItIs(t *testing.T) {
	step := script(t, "echo never")
	step.Advanced.Spec = []byte(`{"ociVersion":"1.0.2","root":{"path":"/etc"},"hostname":"raw","process":{"args":["/bin/sh","-c","hostname; echo $A; ls /sys"],"env":["A=b","PATH=/bin"],"cwd":"/"},
		"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],"linux":{"namespaces":[{"type":"uts"},{"type":"mount"},{"type":"pid"}]}}`)
	if stdout, stderr, _ := output(t, openHost(t), step); stdout != "raw\nb\n" {
		t.Errorf("got %q %q", stdout, stderr)
	}
}

func TestPidFileHasThePidOnTheHost(t *testing.T) {
	dir := t.TempDir()
	step := script(t, "sleep 0")
	step.Advanced.PidFile = filepath.Join(dir, "pid")
	step.Advanced.Labels = map[string]string{"a": "b"}
	output(t, openHost(t), step)
	if data, err := os.ReadFile(step.Advanced.PidFile); err != nil || len(data) == 0 {
		t.Errorf("got %q, %v", data, err)
	}
	step = script(t, "true")
	step.Advanced.PidFile = filepath.Join(dir, "no", "pid")
	box, err := openHost(t).Prepare(t.Context(), step)
	if err == nil {
		t.Fatal("no error", box.Remove())
	}
}

package run_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/run"
)

// TestAPanicInOnePipelineEndsNoOther: the workflow of one of two pipelines is broken in a way
// that no file can be, so that to plan it at its turn panics.
func TestAPanicInOnePipelineEndsNoOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := fixtures.Busybox(filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pipeline.yml")
	text := "matrix: {N: [1, 2]}\nsteps: [{name: step, image: 'oci:busybox', commands: [echo ran]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	request := run.Request{File: file, Machine: machine(filepath.Join(dir, "root"), &log)}
	jobs, err := request.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	jobs[0].Pipeline = nil
	ran := false
	var verdict string
	code, err := run.All(t.Context(), jobs, engine.Options{
		Limits: engine.Limits{Parallel: 1},
		Events: func(e *event.Event) {
			ran = ran || e.Kind == event.Line && e.Text == "ran"
			if e.Kind == event.MatrixFinished {
				verdict = e.Text
			}
		},
	})
	if code != event.CodeError || err == nil || !strings.Contains(err.Error(), "N=1: stepexec itself failed") {
		t.Errorf("exit code %d, error %v", code, err)
	}
	if !ran || verdict != "matrix: 1 of 2 cells succeeded, not N=1 (125)" {
		t.Errorf("the other ran: %v; %s", ran, verdict)
	}
	if !strings.Contains(log.String(), "panic: ") || !strings.Contains(log.String(), "run/job.go") {
		t.Errorf("the log has no stack: %s", log.String())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "root", "runs", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAPanicAroundARunIsAnErrorAndLeavesNothing: the run has no fetcher.
func TestAPanicAroundARunIsAnErrorAndLeavesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "pipeline.yml")
	if err := os.WriteFile(file, []byte("steps: [{name: step, image: 'oci:busybox', commands: [echo ran]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	request := run.Request{File: file, Machine: machine(filepath.Join(dir, "root"), &log)}
	job, err := request.Job(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	planned, err := job.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	planned.Fetcher = nil
	if _, err := run.Execute(t.Context(), planned, request.Machine, engine.Options{}); err == nil || !strings.Contains(err.Error(), "stepexec itself failed") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "panic: ") {
		t.Errorf("the log has no panic: %s", log.String())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "root", "runs", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

// A bug of stepexec that one step meets fails this step alone, and leaves nothing behind.
func TestAPanicFailsOneStepAlone(t *testing.T) {
	const file = `
services:
  - {name: db, image: 'oci:busybox', entrypoint: [sleep, "1000"]}
steps:
  - {name: meets it, image: 'oci:busybox', commands: ["true"], cache: ["broken:/cache"]}
  - {name: beside, image: 'oci:busybox', commands: [echo fine; sleep 0.1], depends_on: []}
  - {name: after, image: 'oci:busybox', commands: ["true"], depends_on: [meets it]}
  - {name: fails, image: 'oci:busybox', commands: [exit 3], depends_on: [after], failure: ignore}
`
	tests := []struct {
		name   string
		change func(*engine.Options)
		want   string // statuses of the services and steps
		green  bool   // no step makes the run fail: the error alone does
	}{
		{"in a step", func(o *engine.Options) {
			o.Cache = func(string) (string, error) { panic("a bug") }
		}, "stopped failed succeeded skipped skipped", false},
		{"in the listener", func(o *engine.Options) {
			o.Cache = func(string) (string, error) { return "", errors.New("no caches here") }
			o.Events = func(e *event.Event) {
				if e.Kind == event.StepStarted {
					panic("a bug")
				}
			}
		}, "stopped failed succeeded skipped skipped", false},
		{"in the fetch of their image", func(o *engine.Options) {
			o.Fetcher.Events = func(event.Event) { panic("a bug") }
		}, "failed skipped skipped skipped skipped", false},
		{"where their output goes", func(o *engine.Options) {
			o.Streams.Stdout, o.Streams.Stderr = panics{}, panics{}
		}, "stopped failed failed skipped skipped", false},
		{"in the shell of a failed step", func(o *engine.Options) {
			o.Shell = &engine.Shell{OnFailure: true, Borrow: func(context.Context) (func(), error) { panic("a bug") }}
		}, "stopped succeeded succeeded succeeded failed", true},
		{"in who uses the services", func(o *engine.Options) {
			o.Serve = func(context.Context, *engine.Serving) error { panic("a bug") }
		}, "stopped succeeded succeeded succeeded failed", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var dir string
			t.Cleanup(func() { leavesNothing(t, dir) }) // after the host was closed
			b := newBench(t)
			dir = b.dir
			p, err := pipeline.Parse("pipeline.yml", []byte(file))
			if err != nil {
				t.Fatal(err)
			}
			plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: b.dir}, policy.Origin{Way: policy.Run})
			if err != nil {
				t.Fatal(err)
			}
			o := engine.Options{Host: b.host, Fetcher: b.fetcher, Cache: func(string) (string, error) { return b.dir, nil }}
			test.change(&o)
			summary, err := engine.Run(t.Context(), plan, o)
			var got []string
			for _, step := range summary.Steps {
				got = append(got, string(step.Status))
			}
			if strings.Join(got, " ") != test.want || (summary.ExitCode == event.CodeError) == test.green {
				t.Errorf("the steps are %v, and the exit code %d", got, summary.ExitCode)
			}
			var c *crash.Error
			if !errors.As(err, &c) || c.Value != "a bug" {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("a bug") }

// leavesNothing checks that no run's folder and no mount of one is left.
func leavesNothing(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "root", "runs", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("left behind: something is mounted in %s, or error %v", dir, err)
	}
}

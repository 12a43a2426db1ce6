package engine_test

import (
	"errors"
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
  - {name: beside, image: 'oci:busybox', commands: [echo fine], depends_on: []}
  - {name: after, image: 'oci:busybox', commands: ["true"], depends_on: [meets it]}
`
	tests := []struct {
		name   string
		change func(*engine.Options)
		want   string // statuses of the steps
	}{
		{"in a step", func(o *engine.Options) {
			o.Cache = func(string) (string, error) { panic("a bug") }
		}, "stopped failed succeeded skipped"},
		{"in the listener", func(o *engine.Options) {
			o.Cache = func(string) (string, error) { return "", errors.New("no caches here") }
			o.Events = func(e event.Event) {
				if e.Kind == event.StepStarted {
					panic("a bug")
				}
			}
		}, "stopped failed succeeded skipped"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			p, err := pipeline.Parse("pipeline.yml", []byte(file))
			if err != nil {
				t.Fatal(err)
			}
			plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: b.dir}, policy.Origin{Way: policy.Run})
			if err != nil {
				t.Fatal(err)
			}
			o := engine.Options{Host: b.host, Fetcher: b.fetcher}
			test.change(&o)
			summary, err := engine.Run(t.Context(), plan, o)
			var got []string
			for _, step := range summary.Steps {
				got = append(got, string(step.Status))
			}
			if strings.Join(got, " ") != test.want || summary.ExitCode != event.CodeError {
				t.Errorf("the steps are %v, and the exit code %d", got, summary.ExitCode)
			}
			var c *crash.Error
			if !errors.As(err, &c) || c.Value != "a bug" {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

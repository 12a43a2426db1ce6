package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

func TestStepsThatNeedWhatHasEndedEarlyDoNotBegin(t *testing.T) {
	for name, db := range map[string]string{
		"service":           "services: [{name: db, image: 'oci:busybox', commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}]\nsteps:\n",
		"detached":          "steps:\n  - {name: db, image: 'oci:busybox', detach: true, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}\n",
		"service, ignored":  "services: [{name: db, image: 'oci:busybox', failure: ignore, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}]\nsteps:\n",
		"detached, ignored": "steps:\n  - {name: db, image: 'oci:busybox', detach: true, failure: ignore, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			summary, _ := b.run(t, t.Context(), db+`
  - {name: tests, image: 'oci:busybox', depends_on: [db], commands: [touch begun, 'while [ ! -e seen ]; do sleep 0.01; done']}
  - {name: publish, image: 'oci:busybox', depends_on: [tests], commands: [ls]}
  - {name: mail, image: 'oci:busybox', depends_on: [publish], when: {status: failure}, commands: [ls]}
`, pipeline.Inputs{}, func(e event.Event) {
				if e.Kind == event.StepFinished && e.Step == "db" {
					if err := os.WriteFile(filepath.Join(b.dir, "seen"), nil, 0o600); err != nil {
						t.Error(err)
					}
				}
			})
			want := [...]event.Status{event.Failed, event.Succeeded, event.Skipped, event.Succeeded}
			if strings.HasSuffix(name, "ignored") {
				want = [...]event.Status{event.Failed, event.Succeeded, event.Succeeded, event.Skipped}
			}
			for i, step := range summary.Steps {
				if step.Status != want[i] {
					t.Errorf("%s: %s %s, want %s", step.Step, step.Status, step.Reason, want[i])
				}
			}
		})
	}
}

// The pipelines would wait for an hour: for a service that is never ready, though another one has
// failed that all steps need.
func TestAFailedServiceEndsARunWhoseOtherServicesAreNotReady(t *testing.T) {
	const slow = "{name: slow, image: 'oci:busybox', commands: ['touch /workspace/slow', sleep 7200], ready: {exec: ['false'], timeout: 1h}}"
	const bad = "{name: bad, image: 'oci:busybox', commands: ['while [ ! -e /workspace/slow ]; do sleep 0.01; done', exit 5], ready: {exec: ['false']}}"
	detached := strings.NewReplacer("ready:", "detach: true, depends_on: [], ready:")
	for name, file := range map[string]string{
		"services":       "services: [" + slow + ", " + bad + "]\nsteps: [{name: a, image: 'oci:busybox', commands: [ls]}, {name: b, image: 'oci:busybox', commands: [ls]}]",
		"detached steps": "steps: [" + detached.Replace(slow) + ", " + detached.Replace(bad) + ", {name: a, image: 'oci:busybox', depends_on: [slow, bad], commands: [ls]}, {name: b, image: 'oci:busybox', depends_on: [a], commands: [ls]}]",
		"after a step": "services: [" + slow + ", " + bad + "]\nsteps: [{name: first, image: 'oci:busybox', depends_on: [], commands: [ls]}, " +
			"{name: a, image: 'oci:busybox', depends_on: [first, slow, bad], commands: [ls]}, {name: b, image: 'oci:busybox', depends_on: [a], commands: [ls]}]",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // far less than the hour
			defer cancel()
			summary, _ := newBench(t).run(t, ctx, file, pipeline.Inputs{}, nil)
			if ctx.Err() != nil {
				t.Fatal("the run waited for a service that nothing needs any more")
			}
			want := map[string]event.Status{"slow": event.Stopped, "bad": event.Failed, "first": event.Succeeded, "a": event.Skipped, "b": event.Skipped}
			for _, step := range summary.Steps {
				if step.Status != want[step.Step] {
					t.Errorf("%s: %s %s, want %s", step.Step, step.Status, step.Error, want[step.Step])
				}
			}
			if summary.ExitCode != 5 {
				t.Errorf("exit code %d", summary.ExitCode)
			}
		})
	}
}

// A step that runs after a failure comes after all steps before the one that was skipped.
func TestAStepAfterASkippedOneWaitsForTheStepsBeforeIt(t *testing.T) {
	b := newBench(t)
	summary, _ := b.run(t, t.Context(), `
services:
  - {name: slow, image: 'oci:busybox', commands: [sleep 7200], ready: {exec: [test, -e, /workspace/first], timeout: 1h}}
  - {name: bad, image: 'oci:busybox', commands: [exit 5], ready: {exec: ['false']}}
steps:
  - {name: first, image: 'oci:busybox', depends_on: [], commands: ['while [ ! -e seen ]; do sleep 0.01; done', touch first]}
  - {name: a, image: 'oci:busybox', depends_on: [first, slow, bad], commands: [ls]}
  - {name: mail, image: 'oci:busybox', depends_on: [a], when: {status: failure}, commands: [test -e first]}
`, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.StepFinished && e.Step == "bad" {
			if err := os.WriteFile(filepath.Join(b.dir, "seen"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	for _, step := range summary.Steps {
		if step.Step == "mail" && step.Status != event.Succeeded {
			t.Errorf("mail: %s %s", step.Status, step.Reason)
		}
	}
}

// Each file has something named db that ends by itself, and a step that goes on until the run
// has said so.
func TestWhatRunsBesideStepsAndEndsBeforeThemFailsTheRun(t *testing.T) {
	const waits = "{name: waits, image: 'oci:busybox', commands: [touch begun, 'while [ ! -e seen ]; do sleep 0.01; done']}"
	for name, c := range map[string]struct {
		file  string
		early bool
		code  int // of the run
	}{
		"service":           {"services: [{name: db, image: 'oci:busybox', commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}]\nsteps: [" + waits + "]", true, 5},
		"service, ignored":  {"services: [{name: db, image: 'oci:busybox', failure: ignore, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}]\nsteps: [" + waits + "]", true, 0},
		"detached":          {"steps: [{name: db, image: 'oci:busybox', detach: true, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}, " + waits + "]", true, 5},
		"detached, ignored": {"steps: [{name: db, image: 'oci:busybox', detach: true, failure: ignore, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}, " + waits + "]", true, 0},
		"detached, with 0":  {"steps: [{name: db, image: 'oci:busybox', detach: true, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done']}, " + waits + "]", false, 0},
		"detached, steps between": {`steps:
  - {name: db, image: 'oci:busybox', detach: true, commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}
  - {name: other, image: 'oci:busybox', commands: [ls]}
  - {name: between, image: 'oci:busybox', commands: [touch begun, 'while [ ! -e seen ]; do sleep 0.01; done']}`, true, 5},
		"detached, that no step depends on": {`steps:
  - {name: db, image: 'oci:busybox', detach: true, depends_on: [], commands: ['while [ ! -e /workspace/begun ]; do sleep 0.01; done', exit 5]}
  - {name: waits, image: 'oci:busybox', depends_on: [], commands: [touch begun, 'while [ ! -e seen ]; do sleep 0.01; done']}`, true, 5},
		"detached, after the steps that need it": {`steps:
  - {name: db, image: 'oci:busybox', detach: true, commands: ['while [ ! -e after ]; do sleep 0.01; done', exit 5]}
  - {name: user, image: 'oci:busybox', depends_on: [db], commands: [ls]}
  - {name: last, image: 'oci:busybox', depends_on: [user], commands: [ls]}
  - {name: other, image: 'oci:busybox', depends_on: [], commands: ['while [ ! -e used ]; do sleep 0.01; done', touch after, 'while [ ! -e seen ]; do sleep 0.01; done']}`, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			mark := func(file string) {
				if err := os.WriteFile(filepath.Join(b.dir, file), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
			summary, _ := b.run(t, t.Context(), c.file, pipeline.Inputs{}, func(e event.Event) {
				switch {
				case e.Kind == event.StepFinished && e.Step == "db":
					mark("seen")
				case e.Kind == event.StepFinished && e.Step == "last":
					mark("used")
				}
			})
			db := summary.Steps[0]
			if summary.ExitCode != c.code || db.EndedEarly != c.early {
				t.Errorf("code %d, steps %+v", summary.ExitCode, summary.Steps)
			}
			for _, step := range summary.Steps[1:] {
				if step.Status != event.Succeeded {
					t.Errorf("%s: %s %s", step.Step, step.Status, step.Reason)
				}
			}
		})
	}
}

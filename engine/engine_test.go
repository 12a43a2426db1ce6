package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a host, a store with the busybox image in reach, and a workspace.
type bench struct {
	host    *sandbox.Host
	fetcher *fetch.Fetcher
	dir     string
	streams engine.Streams
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	if err := fixtures.Busybox(filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: filepath.Join(dir, "root")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	store, err := unpack.OpenStore(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{host: host, fetcher: &fetch.Fetcher{Store: store, Dir: dir}, dir: dir}
}

// run runs a pipeline; listen sees every event and may be nil.
func (b *bench) run(t *testing.T, ctx context.Context, file string, in pipeline.Inputs, listen func(event.Event)) (event.Summary, []event.Event) {
	t.Helper()
	p, err := pipeline.Parse("pipeline.yml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	in.Dir, in.Workspace = b.dir, b.dir
	plan, err := policy.Trusted().Plan(p, in, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	summary, err := engine.Run(ctx, plan, engine.Options{
		Host: b.host, Fetcher: b.fetcher, Streams: b.streams,
		Events: func(e *event.Event) {
			events = append(events, *e)
			if listen != nil {
				listen(*e)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return summary, events
}

// story is the kinds of the events, with the step or text that each is about.
func story(events []event.Event) []string {
	var lines []string
	for _, e := range events {
		if e.Kind == event.PullProgress {
			continue // how often that is depends on how fast the machine is
		}
		line := string(e.Kind)
		for _, about := range []string{e.Step, e.Stream, e.Text} {
			if about != "" {
				line += " " + about
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestEventsTellTheWholeStoryInOrder(t *testing.T) {
	summary, events := newBench(t).run(t, t.Context(), `
steps:
  - {name: one, image: 'oci:busybox', commands: [echo out]}
  - {name: two, image: 'oci:busybox', commands: [exit 4]}
  - {name: three, image: 'oci:busybox', commands: [echo never]}
`, pipeline.Inputs{}, nil)
	want := []string{
		"run_started", "pull_started", "pull_finished",
		"step_started one", "line one stdout + echo out", "line one stdout out", "step_finished one",
		"step_started two", "line two stdout + exit 4", "step_finished two",
		"step_finished three", "run_finished",
	}
	if diff := cmp.Diff(want, story(events)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	var statuses []event.Status
	for _, step := range summary.Steps {
		statuses = append(statuses, step.Status)
	}
	if summary.ExitCode != 4 || !slices.Equal(statuses, []event.Status{event.Succeeded, event.Failed, event.Skipped}) {
		t.Errorf("code %d, steps %v", summary.ExitCode, statuses)
	}
}

func TestNoEventHoldsASecret(t *testing.T) {
	const secret = "correct-horse-battery"
	_, events := newBench(t).run(t, t.Context(), `
steps:
  - name: leaks
    image: oci:busybox
    environment: {PASSWORD: {from_secret: password}}
    failure: ignore
    commands: [echo $PASSWORD, echo $PASSWORD >&2, exit 1]
  - {name: in an error, image: 'oci:busybox', entrypoint: [/correct-horse-battery], failure: ignore}
  - {name: in an image, image: 'oci:correct-horse-battery', commands: [ls], failure: ignore}
`, pipeline.Inputs{Secrets: map[string]string{"password": secret}}, nil)
	masked := 0
	for _, e := range events {
		texts := []string{e.Text, e.Error}
		if e.Result != nil {
			texts = append(texts, e.Result.Error)
		}
		if e.Summary != nil {
			for _, step := range e.Summary.Steps {
				texts = append(texts, step.Error)
			}
		}
		for _, text := range texts {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q", e.Kind, text)
			}
			masked += strings.Count(text, "***")
		}
	}
	if masked < 6 {
		t.Errorf("only %d places were masked: the test shows too little", masked)
	}
}

func TestACancelledRunStartsNothingMore(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	summary, _ := newBench(t).run(t, ctx, `
steps:
  - {name: one, image: 'oci:busybox', commands: [': > one', 'while :; do sleep 0.01; done']}
  - {name: two, image: 'oci:busybox', commands: [': > two']}
services:
  - {name: db, image: 'oci:busybox', commands: ['while :; do sleep 0.01; done']}
`, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.StepStarted && e.Step == "one" {
			cancel(stopped)
		}
	})
	var statuses []event.Status
	for _, step := range summary.Steps {
		statuses = append(statuses, step.Status)
	}
	want := []event.Status{event.Stopped, event.Cancelled, event.Cancelled}
	if !slices.Equal(statuses, want) || summary.ExitCode != event.CodeInterrupted || summary.Error != stopped.Error() {
		t.Errorf("steps %v, code %d, error %q", statuses, summary.ExitCode, summary.Error)
	}
}

func TestAStepThatTrapsItsStopIsNotGreen(t *testing.T) {
	summary, _ := newBench(t).run(t, t.Context(), `
steps:
  - name: polite
    image: oci:busybox
    timeout: 200ms
    entrypoint: [/bin/sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.01; done']
`, pipeline.Inputs{}, nil)
	if step := summary.Steps[0]; step.Status != event.TimedOut || summary.ExitCode != event.CodeTimeout {
		t.Errorf("step %+v, code %d", step, summary.ExitCode)
	}
}

func TestImagesAreFetchedOnceForAllSteps(t *testing.T) {
	_, events := newBench(t).run(t, t.Context(), `
steps:
  a: {image: 'oci:busybox', depends_on: [], commands: [ls]}
  b: {image: 'oci:busybox', depends_on: [], commands: [ls]}
  c: {image: 'oci:busybox', depends_on: [], commands: [ls]}
`, pipeline.Inputs{}, nil)
	pulls := 0
	for _, e := range events {
		if e.Kind == event.PullStarted {
			pulls++
		}
	}
	if pulls != 1 {
		t.Errorf("%d pulls, want 1", pulls)
	}
}

func TestWhatRunsAlwaysHasABoundedTimeAfterACancel(t *testing.T) {
	b := newBench(t)
	p, err := pipeline.Parse("pipeline.yml", []byte(`
steps:
  - {name: long, image: 'oci:busybox', commands: [sleep 1000]}
  - {name: tidy, image: 'oci:busybox', when: {status: always}, commands: [sleep 1000]}
`))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: b.dir}, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	summary, err := engine.Run(ctx, plan, engine.Options{
		Host: b.host, Fetcher: b.fetcher, Stop: engine.Stop{Cleanup: 1500 * time.Millisecond},
		Events: func(e *event.Event) {
			if e.Kind == event.Line && e.Step == "long" {
				cancel(errors.New("stop"))
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	tidy := summary.Steps[1]
	if tidy.Status != event.Cancelled || tidy.Error != "stop; the 1.5s for steps that always run are over" || summary.ExitCode != event.CodeInterrupted {
		t.Errorf("%+v, exit code %d", tidy, summary.ExitCode)
	}
}

// wide is a step that n others depend on, and one that depends on all of them.
func wide(n int) string {
	file := "steps:\n  first: {image: 'oci:busybox', depends_on: [], commands: [sleep 0.1]}\n"
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("s", i))
		file += fmt.Sprintf("  s%d: {image: 'oci:busybox', depends_on: first, commands: ['true']}\n", i)
	}
	return file + "  last: {image: 'oci:busybox', depends_on: [" + strings.Join(names, ", ") + "], commands: ['true']}\n"
}

func TestAWidePipelineEndsWithFewStepsAtOnce(t *testing.T) {
	b := newBench(t)
	p, err := pipeline.Parse("pipeline.yml", []byte(wide(20)))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: b.dir}, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	running, most := map[string]bool{}, 0
	var order []string
	summary, err := engine.Run(t.Context(), plan, engine.Options{
		Host: b.host, Fetcher: b.fetcher, Limits: engine.Limits{Parallel: 3},
		Events: func(e *event.Event) {
			switch e.Kind {
			case event.StepStarted:
				running[e.Step] = true
				most = max(most, len(running))
				order = append(order, e.Step)
			case event.StepFinished:
				delete(running, e.Step)
			}
		},
	})
	if err != nil || summary.Status != event.Succeeded {
		t.Fatalf("%+v, %v", summary, err)
	}
	if most > 3 || len(order) != 22 || order[0] != "first" || order[21] != "last" {
		t.Errorf("%d at once, in the order %v", most, order)
	}
}

func TestACancelEndsAWidePipeline(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	summary, _ := newBench(t).run(t, ctx, wide(20), pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.StepStarted && e.Step != "first" {
			cancel(errors.New("stop"))
		}
	})
	if summary.Status != event.Cancelled || summary.ExitCode != event.CodeInterrupted {
		t.Errorf("%s with exit code %d", summary.Status, summary.ExitCode)
	}
}

// The steps of other runs may take hours.
func TestACancelledRunDoesNotWaitForTheStepsOfOthers(t *testing.T) {
	b := newBench(t)
	p, err := pipeline.Parse("pipeline.yml", []byte("steps: [{name: a, image: 'oci:busybox', commands: ['true']}]"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: b.dir}, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 1)
	slots <- struct{}{} // a step of another run
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	ended := make(chan event.Summary, 1)
	go func() {
		summary, _ := engine.Run(ctx, plan, engine.Options{Host: b.host, Fetcher: b.fetcher, Limits: engine.Limits{Slots: slots}})
		ended <- summary
	}()
	select {
	case summary := <-ended:
		if summary.Status != event.Cancelled || len(slots) != 1 {
			t.Errorf("%s, with %d steps at once", summary.Status, len(slots))
		}
	case <-time.After(time.Minute):
		<-slots // for the end of the test
		t.Error("the run still waits for a step of another run")
		<-ended
	}
}

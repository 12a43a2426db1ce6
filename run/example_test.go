package run_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
)

// TestMain does what the main function of every program that embeds stepexec does first: a run
// starts the same program once more, as its guard. The guard clears away what is left when the
// run's process is killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "guard" {
		if err := sandbox.Guard(context.Background(), os.Stdin, os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func machine(root string, log io.Writer) run.Machine {
	return run.Machine{
		Sandbox: sandbox.Options{Root: root, Guard: []string{os.Args[0], "guard"}},
		Say:     func(line string) { fmt.Fprintln(log, line) },
	}
}

// runFile runs a pipeline file that strangers may write, and prints what its steps print.
// Caches and everything else that it leaves lie below root.
func runFile(ctx context.Context, file, root string, out, log io.Writer) (exitCode int, err error) {
	request := run.Request{File: file, Rules: policy.Untrusted(), Machine: machine(root, log)}
	jobs, err := request.Jobs(ctx)
	if err != nil {
		return event.CodeError, err
	}
	return run.All(ctx, jobs, engine.Options{Events: func(e *event.Event) {
		if e.Kind == event.Line {
			fmt.Fprintf(out, "%s: %s\n", e.Step, e.Text)
		}
	}})
}

// A pipeline file, its policy and its caches.
func Example() {
	code, err := runFile(context.Background(), "pipeline.yml", "/var/lib/builds", os.Stdout, os.Stderr)
	fmt.Println(code, err)
}

// newBench runs pipelines one after another, or several at once, under one policy: at most four
// steps of all of them at a time.
func newBench(root string, rules *policy.Policy, log io.Writer) *run.Bench {
	return &run.Bench{
		Machine: machine(root, log), Rules: rules, Way: policy.Run, Slots: make(chan struct{}, 4),
		Settings: func() (settings.Settings, error) { return settings.Settings{}, nil },
	}
}

// unitTests is a pipeline that a program makes itself.
func unitTests(image, folder string) (run.Work, error) {
	p, err := pipeline.Parse("", fmt.Appendf(nil, `
name: unit tests
steps:
  - name: test
    image: %q
    cache: ["build:/cache"]
    commands: [echo once more > /cache/runs, cat /cache/runs]
`, image))
	return run.Work{Pipeline: p, Inputs: pipeline.Inputs{Dir: folder, Workspace: folder}}, err
}

// Pipelines that a program makes itself, with a cache.
func ExampleBench() {
	bench := newBench("/var/lib/builds", policy.Trusted(), os.Stderr)
	work, err := unitTests("docker.io/library/golang:1.26", "/src/app")
	if err != nil {
		fmt.Println(err)
		return
	}
	work.Events = func(e *event.Event) {
		if e.Kind == event.RunFinished {
			fmt.Println(e.Summary.Status, e.Summary.ExitCode)
		}
	}
	if err := bench.Execute(context.Background(), work); err != nil {
		fmt.Println(err)
	}
}

// TestTheExamplesRun runs what the examples show.
func TestTheExamplesRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	root, file := filepath.Join(dir, "root"), filepath.Join(dir, "pipeline.yml")
	if err := fixtures.Busybox(filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	text := "steps: [{name: greet, image: 'oci:busybox', network: none, commands: [echo hello, exit 3]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	code, err := runFile(t.Context(), file, root, &out, &log)
	if code != 3 || err != nil || out.String() != "greet: + echo hello\ngreet: hello\ngreet: + exit 3\n" {
		t.Errorf("exit code %d, error %v, output %q, log %s", code, err, out.String(), log.String())
	}

	bench := newBench(root, policy.Trusted(), &log)
	work, err := unitTests("oci:busybox", dir)
	if err != nil {
		t.Fatal(err)
	}
	var summary *event.Summary
	work.Events = func(e *event.Event) { summary = e.Summary }
	if err := bench.Execute(t.Context(), work); err != nil || summary == nil || summary.Status != event.Succeeded {
		t.Errorf("error %v, summary %+v, log %s", err, summary, log.String())
	}
	if data, err := os.ReadFile(filepath.Join(run.CachesDir(root), "build", "data", "runs")); err != nil || string(data) != "once more\n" {
		t.Errorf("the cache holds %q, %v", data, err)
	}
}

package woodpecker_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

// keeping has an agent keep its number and its results.
func keeping(dir string) func(*woodpecker.Options) {
	return func(o *woodpecker.Options) { o.AgentFile, o.State = filepath.Join(dir, "agent.conf"), dir }
}

// The runner ends while the server is away; its next start has all of it.
func TestResultsOutliveTheRunner(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	executed := make(chan struct{})
	a := b.start(func(o *woodpecker.Options) {
		keeping(dir)(o)
		o.Execute = func(ctx context.Context, w run.Work) error {
			defer close(executed)
			return b.Execute(ctx, w)
		}
	})
	s, place := gate("a", "echo while the server is away", "exit 3")
	open := place(t.TempDir())
	id := b.server.Push(workflow(serial(s, step("b", "true"))...), 0, nil)
	b.until("the step to run", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
	b.server.Stop()
	touch(t, open)
	<-executed
	a.Kill()
	if err := a.Err(); err != nil {
		t.Error(err)
	}
	b.server.Start()
	again := b.start(keeping(dir))
	w := b.server.Ended(id)
	if w.Step("a").End.GetExitCode() != 3 || outcome(w.Step("b")) != "skipped" || !strings.HasSuffix(printed(w.Step("a")), "while the server is away") {
		t.Errorf("a %v, b %s, %q", w.Step("a").End, outcome(w.Step("b")), w.Step("a").Lines)
	}
	b.UntilSaid("the server has what an earlier runner had left")
	again.Stop()
	if err := again.Err(); err != nil {
		t.Error(err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "runner", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A file that the runner left when it was killed in the middle of a step ends the workflow.
func TestWorkflowOfAKilledRunnerEnds(t *testing.T) {
	b, dir, copied := newBench(t), t.TempDir(), t.TempDir()
	a := b.start(keeping(dir))
	s, place := gate("a")
	place(t.TempDir())
	id := b.server.Push(workflow(serial(s, with(step("b", "true"), func(s *workflows.Step) { s.OnFailure = true }))...), 0, nil)
	b.until("the step to run", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
	// The files as they are now are those that kill -9 leaves.
	if out, err := exec.Command("cp", "-a", dir+"/.", copied).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	if left := files(t, copied); len(left) != 1 {
		t.Fatal(left)
	} else if info, err := os.Stat(left[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	b.server.Stop()
	a.Kill()
	if err := a.Err(); err != nil {
		t.Error(err)
	}
	b.server.Start()
	b.start(func(o *woodpecker.Options) { keeping(copied)(o); o.AgentFile = filepath.Join(dir, "agent.conf") })
	w := b.server.Ended(id)
	if w.Done.GetError() != "the runner was killed" || w.Step("a").End.GetError() != "the runner was killed" || outcome(w.Step("b")) != "skipped" {
		t.Errorf("%v: a %v, b %s", w.Done, w.Step("a").End, outcome(w.Step("b")))
	}
	if !strings.Contains(printed(w.Step("a")), "before\nstepexec: the runner was killed") {
		t.Errorf("%q", w.Step("a").Lines)
	}
}

package drone_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/drone"
)

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "runner", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const waits = "a: commands: ['echo begun', 'until test -e go; do sleep 0.05; done', 'echo ended', exit 3]"

// begun pushes a stage whose step a runs, and returns what lets it go on.
func (b *bench) begun(t *testing.T) (id int64, goOn func()) {
	t.Helper()
	id = b.server.Push(steps(waits, "b: commands: [echo]"), nil)
	b.server.Until("its first line", func() bool { return strings.Contains(b.server.Peek(id).Step("a").LiveText(), "\nbegun\n") })
	volume := waitFor(t, filepath.Join(b.Dir, "root", "runs", "*", "volumes", ".workspace"))
	return id, func() {
		if err := os.WriteFile(filepath.Join(volume, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The runner ends while the server is away; its next start has all of it.
func TestResultsOutliveTheRunner(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	executed := make(chan struct{})
	w := b.start(func(o *drone.Options) {
		o.State = dir
		o.Execute = func(ctx context.Context, w run.Work) error {
			defer close(executed)
			return b.Execute(ctx, w)
		}
	})
	id, goOn := b.begun(t)
	b.server.Stop()
	goOn()
	<-executed
	w.Kill()
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	b.server.Restart()
	again := b.start(func(o *drone.Options) { o.State = dir })
	s := b.server.Ended(id)
	if outcome(s) != "clone=success a=failure(3) b=skipped failure" || !strings.HasSuffix(s.Step("a").Text(), "ended\n+ exit 3\n") {
		t.Errorf("%s %s %q", outcome(s), s.Error, s.Step("a").Text())
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

// The files that a runner has left when it was killed in the middle of a step end the stage.
func TestStageOfAKilledRunnerEnds(t *testing.T) {
	b, dir, copied := newBench(t), t.TempDir(), t.TempDir()
	w := b.start(func(o *drone.Options) { o.State = dir })
	id, _ := b.begun(t)
	if out, err := exec.Command("cp", "-a", dir+"/.", copied).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	left := files(t, copied)
	for _, file := range left {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(info, err)
		}
	}
	if len(left) != 4 { // the stage, clone, a and b
		t.Error(left)
	}
	b.server.Stop()
	w.Kill()
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	b.server.Restart()
	b.start(func(o *drone.Options) { o.State = copied })
	s := b.server.Ended(id)
	if outcome(s) != "clone=success a=error(255) b=skipped error" || s.Error != "the runner was killed" || !strings.HasSuffix(s.Step("a").Text(), "done\nstepexec: the runner was killed\n") {
		t.Errorf("%s %s %q", outcome(s), s.Error, s.Step("a").Text())
	}
}

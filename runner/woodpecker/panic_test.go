package woodpecker_test

import (
	"context"
	"strings"
	"testing"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/runnertest"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

// A workflow that meets a bug of stepexec ends as stepexec's failure. The workflow beside it,
// and the next one, come to their own ends.
func TestAPanicEndsOneWorkflowAlone(t *testing.T) {
	broken := with(step("broken", "true"), func(s *workflows.Step) { s.Volumes = append(s.Volumes, runnertest.Bug+":/cache") })
	for name, steps := range map[string][]*workflows.Step{
		"before the run": {with(step("broken", "true"), func(s *workflows.Step) { s.Environment["CI_REPO"] = "octocat/bug" })},
		"in a step":      {step("fine", "true"), broken},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.start(func(o *woodpecker.Options) {
				o.MaxWorkflows = 2
				o.Execute = func(ctx context.Context, w run.Work) error {
					if strings.Contains(w.Pipeline.Name, "octocat/bug") {
						panic("a bug of stepexec")
					}
					return b.Execute(ctx, w)
				}
			})
			waits, open := gate("waits")
			path := open(t.TempDir())
			beside := b.server.Push(workflow(serial(waits)...), 0, nil)
			b.until("it to run", func() bool { return len(b.server.Get(beside).Step("waits").Lines) > 1 })
			bug := b.server.Ended(b.server.Push(workflow(serial(steps...)...), 0, nil))
			if end := bug.Step("broken").End; end.GetExitCode() != 125 || !strings.Contains(end.GetError(), "this is a bug in stepexec") || !strings.Contains(bug.Done.GetError(), "bug in stepexec") {
				t.Errorf("the workflow with the bug: %v, %v", end, bug.Done)
			}
			if name == "before the run" && !(b.HasSaid("panic: a bug of stepexec") && b.HasSaid("panic_test.go")) {
				t.Error("the agent's log has no stack")
			}
			touch(t, path)
			next := b.server.Push(workflow(serial(step("a", "true"))...), 0, nil)
			for id, name := range map[string]string{beside: "waits", next: "a"} {
				if w := b.server.Ended(id); outcome(w.Step(name)) != "success" || w.Done.GetError() != "" {
					t.Errorf("another workflow: %v, %v", w.Step(name).End, w.Done)
				}
			}
		})
	}
}

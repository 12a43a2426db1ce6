package drone_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
	"github.com/stepexec/stepexec/runner/runnertest"
)

// A build that meets a bug of stepexec ends as stepexec's failure. The build beside it, and
// the next one, come to their own ends.
func TestAPanicEndsOneBuildAlone(t *testing.T) {
	for name, when := range map[string]func(w run.Work) run.Work{
		"before the run": func(run.Work) run.Work { panic("a bug of stepexec") },
		"in a report": func(w run.Work) run.Work {
			w.Events = func(*event.Event) { panic("a bug of stepexec") }
			return w
		},
		"in a step": func(w run.Work) run.Work {
			cache := pipeline.Mount{Type: pipeline.MountCache, Source: runnertest.Bug, Destination: "/cache", Options: []string{"rbind", "rw"}}
			for i := range w.Pipeline.Steps {
				w.Pipeline.Steps[i].Mounts = append(w.Pipeline.Steps[i].Mounts, cache)
			}
			return w
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.start(func(o *drone.Options) {
				o.Capacity = 2
				execute := o.Execute
				o.Execute = func(ctx context.Context, w run.Work) error {
					if strings.Contains(w.Pipeline.File, "bug") {
						w = when(w)
					}
					return execute(ctx, w)
				}
			})
			beside := b.server.Push(steps("a: commands: ['echo begun', 'until test -e go; do sleep 0.05; done']"), nil)
			b.server.Until("its first line", func() bool { return strings.Contains(b.server.Peek(beside).Step("a").LiveText(), "\nbegun\n") })
			bug := b.server.Ended(b.server.Push(steps("a: commands: [echo]"), func(s *servertest.Stage) { s.Repo["slug"] = "octocat/bug" }))
			if bug.Status != "error" || !strings.Contains(bug.Error, "this is a bug in stepexec") {
				t.Errorf("the build with the bug: %s %q", outcome(bug), bug.Error)
			}
			if name == "before the run" && !(b.HasSaid("panic: a bug of stepexec") && b.HasSaid("panic_test.go")) {
				t.Error("the runner's log has no stack")
			}
			if err := os.WriteFile(waitFor(t, b.Dir+"/root/runs/*/volumes/.workspace")+"/go", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			next := b.server.Push(steps("a: commands: [echo]"), nil)
			for _, id := range []int64{beside, next} {
				if got := outcome(b.server.Ended(id)); got != "clone=success a=success success" {
					t.Errorf("another build: %s", got)
				}
			}
		})
	}
}

package drone_test

import (
	"context"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

func TestRunsSayWhatTheServerBuilds(t *testing.T) {
	b := newBench(t)
	built := make(chan event.Build, 1)
	b.start(func(o *drone.Options) {
		o.Execute = func(ctx context.Context, w run.Work) error {
			built <- w.Build
			return b.Execute(ctx, w)
		}
	})
	b.server.Ended(b.server.Push(steps("a: commands: [echo]"), func(s *servertest.Stage) {
		s.Build["event"], s.Build["ref"], s.Build["target"] = "pull_request", "refs/pull/42/head", "main"
		s.Build["message"], s.Build["author_name"] = "What it does", "Octo Cat"
	}))
	got := <-built
	want := event.Build{
		Repo: got.Repo, Event: "pull_request", Branch: "main", Ref: "refs/pull/42/head", Commit: got.Commit,
		Message: "What it does", Author: "Octo Cat", PullRequest: 42,
	}
	if got != want || got.Repo == "" || got.Commit == "" {
		t.Errorf("%+v\nnot %+v", got, want)
	}
}

package woodpecker_test

import (
	"context"
	"testing"

	"github.com/stepexec/stepexec/event"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

func TestRunsSayWhatTheServerBuilds(t *testing.T) {
	b := newBench(t)
	built := make(chan event.Build, 1)
	b.start(func(o *woodpecker.Options) {
		o.Execute = func(ctx context.Context, w run.Work) error {
			built <- w.Build
			return b.Execute(ctx, w)
		}
	})
	b.server.Ended(b.server.Push(workflow(serial(with(step("one", "true"), func(s *workflows.Step) {
		s.Environment = map[string]string{
			"CI_REPO": "octo/cat", "CI_PIPELINE_EVENT": "pull_request", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF": "refs/pull/42/head",
			"CI_COMMIT_SHA": "0123456", "CI_COMMIT_MESSAGE": "What it does", "CI_COMMIT_AUTHOR": "octo", "CI_COMMIT_PULL_REQUEST": "42",
		}
	}))...), 0, nil))
	want := event.Build{
		Repo: "octo/cat", Event: "pull_request", Branch: "main", Ref: "refs/pull/42/head", Commit: "0123456",
		Message: "What it does", Author: "octo", PullRequest: 42,
	}
	if got := <-built; got != want {
		t.Errorf("%+v\nnot %+v", got, want)
	}
}

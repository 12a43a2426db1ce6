package drone_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

// The branch of a source is the one that its commit is of, and not the one that a pull request is
// meant for.
func TestSourceIsWhatTheServerSays(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var got policy.Source
	b.start(func(o *drone.Options) {
		o.Execute = func(ctx context.Context, w run.Work) error {
			mu.Lock()
			got = w.Source
			mu.Unlock()
			return b.Execute(ctx, w)
		}
	})
	for _, c := range []struct {
		event, ref string
		want       policy.Source
	}{
		{"push", "refs/heads/main", policy.Source{Repo: "octocat/hello", Event: "push", Branch: "main"}},
		{"pull_request", "refs/pull/7/head", policy.Source{Repo: "octocat/hello", Event: "pull_request"}},
		{"pull_request", "refs/heads/main", policy.Source{Repo: "octocat/hello", Event: "pull_request"}},
		{"promote", "refs/pull/7/head", policy.Source{Repo: "octocat/hello", Event: "promote"}},
		{"promote", "refs/heads/main", policy.Source{Repo: "octocat/hello", Event: "promote", Branch: "main"}},
		{"tag", "refs/tags/v1", policy.Source{Repo: "octocat/hello", Event: "tag"}},
	} {
		b.server.Ended(b.server.Push(steps("a: commands: ['true']"), func(s *servertest.Stage) {
			s.Repo["slug"] = "octocat/hello"
			s.Build["event"], s.Build["ref"], s.Build["target"] = c.event, c.ref, "main"
		}))
		mu.Lock()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s of %s: %s", c.event, c.ref, diff)
		}
		mu.Unlock()
	}
}

package woodpecker_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

// The source of a workflow is what the server says in labels of its own. Neither variables, which
// a workflow file can set, nor labels that differ between steps count.
func TestSourceIsWhatTheServerSays(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var got []policy.Source
	b.start(func(o *woodpecker.Options) {
		o.Execute = func(ctx context.Context, w run.Work) error {
			mu.Lock()
			got = append(got, w.Source)
			mu.Unlock()
			return b.Execute(ctx, w)
		}
	})
	labels := func(repo, event, branch string) map[string]string {
		all := map[string]string{}
		for name, value := range map[string]string{workflows.LabelRepo: repo, workflows.LabelEvent: event, workflows.LabelCommitBranch: branch} {
			if value != "" {
				all[name] = value
			}
		}
		return all
	}
	forged := map[string]string{"CI_REPO": "evil/app", "CI_PIPELINE_EVENT": "push", "CI_COMMIT_BRANCH": "main"}
	for _, c := range []struct {
		first, second map[string]string
		want          policy.Source
	}{
		{labels("octocat/hello", "push", "main"), labels("octocat/hello", "push", "main"), policy.Source{Repo: "octocat/hello", Event: "push", Branch: "main"}},
		{labels("octocat/hello", "pull_request", "main"), labels("octocat/hello", "pull_request", "main"), policy.Source{Repo: "octocat/hello", Event: "pull_request"}},
		{labels("octocat/hello", "", ""), labels("octocat/hello", "", ""), policy.Source{Repo: "octocat/hello"}},
		{labels("octocat/hello", "push", "main"), labels("octocat/other", "push", "main"), policy.Source{Event: "push", Branch: "main"}},
		{labels("octocat/hello", "push", "main"), nil, policy.Source{}},
		{map[string]string{"repo": "octocat/hello", "event": "push"}, map[string]string{"repo": "octocat/hello", "event": "push"}, policy.Source{}},
		{nil, nil, policy.Source{}},
	} {
		first, second := step("a", "true"), step("b", "true")
		first.WorkflowLabels, second.WorkflowLabels = c.first, c.second
		first.Environment, second.Environment = forged, forged
		b.server.Ended(b.server.Push(workflow(serial(first, second)...), 0, nil))
		mu.Lock()
		if diff := cmp.Diff([]policy.Source{c.want}, got); diff != "" {
			t.Errorf("%v: %s", c.first, diff)
		}
		got = nil
		mu.Unlock()
	}
}

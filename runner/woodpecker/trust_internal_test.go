package woodpecker

import (
	"slices"
	"testing"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
)

// Repositories of the same name at two servers share no cache, neither to read nor to write.
func TestCachesOfTwoServersAreApart(t *testing.T) {
	labels := map[string]string{workflows.LabelRepo: "octocat/hello", workflows.LabelEvent: "push", workflows.LabelCommitBranch: "main"}
	config := &workflows.Config{Stages: []workflows.Stage{{Steps: []*workflows.Step{{Name: "a", WorkflowLabels: labels}}}}}
	one, other := cacheScopes("one.example.com:9000", config), cacheScopes("other.example.com:9000", config)
	if one.Write == "" || one.Write == other.Write || one.Share == other.Share || slices.ContainsFunc(one.Read, func(scope string) bool { return slices.Contains(other.Read, scope) }) {
		t.Errorf("%v and %v", one, other)
	}
}

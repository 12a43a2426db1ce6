package run

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// Only a CI server says which branch is the default one, whose caches other branches read. Git's own
// idea of it is in files that a stranger may have written.
func TestTheDefaultBranchComesFromTheServer(t *testing.T) {
	payload := func(text string) string {
		file := filepath.Join(t.TempDir(), "event.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, test := range []struct {
		name  string
		env   map[string]string
		given pipeline.Facts
		want  string
	}{
		{name: "nobody says"},
		{name: "Woodpecker", env: map[string]string{"CI_REPO": "a/b", "CI_REPO_DEFAULT_BRANCH": "trunk"}, want: "trunk"},
		{name: "Drone", env: map[string]string{"DRONE_REPO": "a/b", "DRONE_REPO_BRANCH": "trunk"}, want: "trunk"},
		{name: "GitHub", env: map[string]string{"GITHUB_REPOSITORY": "a/b", "GITHUB_EVENT_PATH": payload(`{"repository": {"default_branch": "trunk"}}`)}, want: "trunk"},
		{name: "no payload", env: map[string]string{"GITHUB_REPOSITORY": "a/b", "GITHUB_EVENT_PATH": "/nonexistent"}},
		{name: "a payload that is not JSON", env: map[string]string{"GITHUB_REPOSITORY": "a/b", "GITHUB_EVENT_PATH": payload("{")}},
		{name: "another repository by a flag", env: map[string]string{"CI_REPO": "a/b", "CI_REPO_DEFAULT_BRANCH": "trunk"}, given: pipeline.Facts{Repo: "c/d"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"CI_REPO", "DRONE_REPO", "GITHUB_REPOSITORY", "CI_REPO_DEFAULT_BRANCH", "DRONE_REPO_BRANCH", "GITHUB_EVENT_PATH"} {
				t.Setenv(name, test.env[name])
			}
			facts := test.given
			refOfCI(&facts, true)
			if facts.DefaultBranch != test.want {
				t.Errorf("default branch %q, want %q", facts.DefaultBranch, test.want)
			}
		})
	}
	scopes := cacheScopes(pipeline.Facts{Repo: "a/b", Event: "push", Branch: "feature", DefaultBranch: "trunk"}, "", true)
	if want := []string{"a/b branch/feature", "a/b branch/trunk"}; !slices.Equal(scopes.Read, want) || scopes.Write != want[0] {
		t.Errorf("scopes %+v, want to read %q", scopes, want)
	}
}

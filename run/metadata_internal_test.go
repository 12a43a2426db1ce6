package run

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMetadataHasAllVariablesOfTheServer(t *testing.T) {
	for text, want := range map[string]map[string]string{
		`{"repo": {"id": 7, "name": "app", "owner": "group/team", "remote_id": "42"}, "sys": {"url": "https://ci.example.com", "host": "ci.example.com"}, "forge": {"type": "gitea", "url": "https://example.com/git"},
		  "curr": {"number": 3, "event": "release", "release": {"title": "One", "is_prerelease": true}, "rerun_count": 2, "commit": {"sha": "abc", "ref": "refs/tags/v1"}},
		  "prev": {"number": 2, "event": "pull_request", "status": "failure", "commit": {"sha": "def", "refspec": "topic:main", "timestamp": 5}}}`: {
			"CI_SYSTEM_URL": "https://ci.example.com", "CI_FORGE_URL": "https://example.com/git", "CI_FORGE_TYPE": "gitea", "CI_REPO_REMOTE_ID": "42",
			"CI_PIPELINE_RELEASE_TITLE": "One", "CI_PIPELINE_RELEASE_PRE": "true", "CI_PIPELINE_RERUNS": "2", "CI_PREV_PIPELINE_STATUS": "failure", "CI_PREV_COMMIT_SHA": "def",
			"CI_PREV_COMMIT_SOURCE_BRANCH": "topic", "CI_PREV_COMMIT_TIMESTAMP": "5", "CI_PREV_PIPELINE_URL": "https://ci.example.com/repos/7/pipeline/2",
		},
		`{"curr": {"event": "pull_request", "event_reason": ["label_updated", "edited"], "commit": {"sha": "abc", "ref": "refs/pull/3/head", "labels": ["bug", "ui"], "milestone": "m1", "draft": true}}}`: {
			"CI_PIPELINE_EVENT_REASON": "label_updated,edited", "CI_COMMIT_PULL_REQUEST_LABELS": "bug,ui", "CI_COMMIT_PULL_REQUEST_MILESTONE": "m1", "CI_COMMIT_PULL_REQUEST_DRAFT": "true",
		},
		`{"number": 3, "event": "custom", "after": "abc", "ref": "refs/heads/main", "params": {"TARGET": "staging"}}`: {"TARGET": "staging"},
	} {
		file := filepath.Join(t.TempDir(), "metadata.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, _, err := readMetadata(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if b.Variables[name] != value {
				t.Errorf("%s is %q, not %q", name, b.Variables[name], value)
			}
		}
		for name, value := range b.Variables {
			if value == "" {
				t.Errorf("%s is empty", name)
			}
		}
	}
}

package run

import "testing"

func TestBranchOrTagOfTheCheckout(t *testing.T) {
	for decoration, want := range map[string][2]string{
		"":                            {"", ""},
		"HEAD":                        {"", ""},
		"HEAD, tag: refs/tags/v1":     {"", "v1"},
		"HEAD, refs/remotes/origin/a": {"", ""},
		"HEAD -> refs/heads/main, tag: refs/tags/v1, refs/remotes/origin/main": {"main", ""},
		"HEAD -> refs/heads/a,b/tag:c, refs/heads/d":                           {"a,b/tag:c", ""},
		"HEAD, tag: refs/tags/v2, tag: refs/tags/v1":                           {"", "v2"},
	} {
		if branch, tag := refsOf(decoration); [2]string{branch, tag} != want {
			t.Errorf("%q: %q, %q", decoration, branch, tag)
		}
	}
}

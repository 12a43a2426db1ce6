package main

import (
	"runtime/debug"
	"testing"
)

func TestVersionOfReleasesModulesAndClones(t *testing.T) {
	clone := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}}
	for _, test := range []struct {
		name, stamped, module string
		settings              []debug.BuildSetting
		want                  string
	}{
		{"a release", "1.2.3", "(devel)", nil, "1.2.3"},
		{"a release, built in a clone", "1.2.3", "v0.0.0-20260102030405-0123abcd0123", clone, "1.2.3"},
		{"go install of a release", unreleased, "v1.2.3", nil, "1.2.3"},
		{"go install of a commit", unreleased, "v0.0.0-20260102030405-0123abcd0123", nil, "0.0.0-20260102030405-0123abcd0123"},
		{"a clone", unreleased, "v0.0.0-20260102030405-0123abcd0123", clone, unreleased},
		{"a folder", unreleased, "(devel)", nil, unreleased},
		{"a test", unreleased, "", nil, unreleased},
	} {
		t.Run(test.name, func(t *testing.T) {
			info := &debug.BuildInfo{Main: debug.Module{Version: test.module}, Settings: test.settings}
			if got := versionOf(test.stamped, info); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if got := versionOf(unreleased, nil); got != unreleased {
		t.Errorf("without build information: %s", got)
	}
}

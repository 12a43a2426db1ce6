package sandbox

import (
	"slices"
	"testing"
)

func TestSafeDirectoryGoesBehindTheUsersOwnSettings(t *testing.T) {
	tests := map[string]struct{ env, want []string }{
		"none": {
			[]string{"A=1"},
			[]string{"A=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		},
		"one of the user's": {
			[]string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=user.name", "GIT_CONFIG_VALUE_0=Octo"},
			[]string{"GIT_CONFIG_KEY_0=user.name", "GIT_CONFIG_VALUE_0=Octo", "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*"},
		},
		"an empty count": {
			[]string{"GIT_CONFIG_COUNT="},
			[]string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		},
		"a count that is wrong": {
			[]string{"GIT_CONFIG_COUNT=many"},
			[]string{"GIT_CONFIG_COUNT=many"},
		},
		"already there": {
			[]string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
			[]string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		},
	}
	for name, test := range tests {
		if got := withSafeDirectory(test.env); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

package run

import (
	"slices"
	"testing"
)

func TestTheSecretsOfOneJobAreHiddenInTheOutputOfAll(t *testing.T) {
	jobs := []*Job{{values: []string{"one", "both"}}, {values: []string{"two", "both"}}}
	if got := Secrets(jobs); !slices.Equal(got, []string{"both", "one", "two"}) {
		t.Errorf("Secrets: %q", got)
	}
}

package main

import (
	"slices"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// TestSecretsOf: what one of several runs is given is hidden in what all of them show.
func TestSecretsOf(t *testing.T) {
	jobs := []job{{plan: &pipeline.Plan{Secrets: []string{"one", "both"}}}, {plan: &pipeline.Plan{Secrets: []string{"two", "both"}}}}
	if got := secretsOf(jobs); !slices.Equal(got, []string{"both", "one", "two"}) {
		t.Errorf("secretsOf: %q", got)
	}
}

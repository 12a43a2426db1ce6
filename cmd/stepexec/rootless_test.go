package main

import (
	"testing"

	"github.com/stepexec/stepexec/rootless/rootlesstest"
)

// TestRootless runs the command line's tests once more, as a user without root.
func TestRootless(t *testing.T) {
	rootlesstest.Again(t, map[string]string{
		"TestNothingIsLeftWhateverIsKilled":               "such a run has no guard: its processes and mounts die with its namespaces",
		"TestScripts/crash":                               "such a run has no guard: its processes and mounts die with its namespaces",
		"TestPackagesImportOnlyWhatTheArchitectureAllows": "it has nothing to do with users",
	}, "testdata", "../../fixtures/pipelines")
}

package rootlesstest

import (
	"slices"
	"strings"
	"testing"
)

const verbose = `=== RUN   TestFirst
    first_test.go:1: of the first
--- PASS: TestFirst (0.00s)
=== RUN   TestScripts
=== RUN   TestScripts/good
=== PAUSE TestScripts/good
=== RUN   TestScripts/bad
=== CONT  TestScripts/good
    script.go:1: of good
=== NAME  TestScripts/bad
    script.go:2: of bad
--- FAIL: TestScripts (0.10s)
    --- PASS: TestScripts/good (0.00s)
    --- FAIL: TestScripts/bad (0.10s)
FAIL
`

func TestFailedTestsAreNamedAndTheirOutputIsKept(t *testing.T) {
	if failed := failedTests(verbose); !slices.Equal(failed, []string{"TestScripts/bad"}) {
		t.Errorf("failed: %q", failed)
	}
	out := outputOfFailed(verbose)
	for _, want := range []string{"of bad", "--- FAIL: TestScripts/bad"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	for _, other := range []string{"of good", "of the first", "=== RUN", "--- PASS"} {
		if strings.Contains(out, other) {
			t.Errorf("%q is shown:\n%s", other, out)
		}
	}
}

func TestOnlyFewAndHarmlessFailuresRunOnceMore(t *testing.T) {
	tests := map[string]struct {
		out  string
		want bool
	}{
		"one":               {verbose, true},
		"four":              {strings.Repeat(verbose, 4), false},
		"none":              {"FAIL\n", false},
		"a data race":       {verbose + "WARNING: DATA RACE\n", false},
		"a panic":           {verbose + "panic: index out of range\n", false},
		"a hang":            {verbose + "    a_test.go:1: run has not ended in 1m0s\n", false},
		"a leak":            {verbose + "    a_test.go:1: left behind: mounts [/x]\n", false},
		"a fatal error":     {verbose + "fatal error: concurrent map writes\n", false},
		"killed":            {strings.TrimSuffix(verbose, "FAIL\n") + "=== RUN   TestNext\n", false},
		"words of a script": {verbose + "    > see left behind\n", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := secondChance(test.out, failedTests(test.out)); got != test.want {
				t.Errorf("runs once more: %v", got)
			}
		})
	}
}

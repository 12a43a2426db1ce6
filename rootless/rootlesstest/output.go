package rootlesstest

import (
	"regexp"
	"slices"
	"strings"
)

var (
	failLine    = regexp.MustCompile(`^\s*--- FAIL: (\S+)`)
	currentLine = regexp.MustCompile(`^=== (?:RUN|PAUSE|CONT|NAME)\s+(\S*)`)
	endLine     = regexp.MustCompile(`^\s*--- (?:PASS|SKIP|FAIL): (\S+)`)

	// serious is a failure that chance does not excuse.
	serious = regexp.MustCompile(`DATA RACE|(?m:^(?:panic|fatal error): )|has not ended in|left behind:`)

	// ownEnd is the last line of a test program with failed tests. One that was killed or called os.Exit has
	// none, and nobody knows what the tests that it did not come to would have said.
	ownEnd = regexp.MustCompile(`(?m)^FAIL$`)
)

// failedTests lists the tests that failed, by the output of a test program with -test.v: the subtest
// where one of its subtests failed, otherwise the test.
func failedTests(out string) []string {
	var failed []string
	for line := range strings.Lines(out) {
		if match := failLine.FindStringSubmatch(line); match != nil {
			failed = append(failed, match[1])
		}
	}
	var leaves []string
	for _, name := range failed {
		isSubtest := func(other string) bool { return strings.HasPrefix(other, name+"/") }
		if !slices.ContainsFunc(failed, isSubtest) {
			leaves = append(leaves, name)
		}
	}
	return leaves
}

// outputOfFailed is the part of the output of a test program with -test.v that failed tests wrote. If no
// test failed by name, as after a panic, it is the whole output.
func outputOfFailed(out string) string {
	failed := failedTests(out)
	if len(failed) == 0 {
		return out
	}
	var kept strings.Builder
	current := ""
	for line := range strings.Lines(out) {
		if match := currentLine.FindStringSubmatch(line); match != nil {
			current = match[1]
			continue
		}
		if match := endLine.FindStringSubmatch(line); match != nil {
			current = match[1]
		}
		if current == "" || slices.Contains(failed, current) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// secondChance reports whether the failed tests may run once more: three at most, and never after a
// data race, a crash, a hang or a leak.
func secondChance(out string, failed []string) bool {
	return len(failed) > 0 && len(failed) <= 3 && ownEnd.MatchString(out) && !serious.MatchString(out)
}

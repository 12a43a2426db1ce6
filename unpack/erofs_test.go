package unpack_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// All tests of this package hold for layers that are EROFS images too: they run once more, in a process of their own.
func TestErofsPassesTheSameTests(t *testing.T) {
	needRoot(t)
	if os.Getenv(formatVariable) != "" {
		t.SkipNow() // this is that process
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.skip=^TestErofsPassesTheSameTests$")
	cmd.Env = append(os.Environ(), formatVariable+"=erofs")
	out, err := cmd.CombinedOutput()
	passed, noise := 0, regexp.MustCompile(`^(=== |\s*--- PASS: |PASS$)`)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "--- PASS: ") {
			passed++
		}
		if err != nil && !noise.MatchString(line) || strings.Contains(line, "--- SKIP: ") {
			t.Error(line)
		}
	}
	if err != nil || passed < 300 {
		t.Errorf("%d tests passed, then: %v", passed, err)
	}
}

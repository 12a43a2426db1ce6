package unpack_test

import (
	"os"
	"os/exec"
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
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

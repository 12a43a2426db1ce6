package network

import (
	"os/exec"
	"testing"
)

func TestSaidWhy(t *testing.T) {
	for _, test := range []struct{ script, want string }{
		{"echo no such chain; exit 1", "no such chain"},
		{"exit 4", "exit status 4"},
		{"echo half; kill -9 $$", "signal: killed"},
	} {
		out, err := exec.Command("sh", "-c", test.script).CombinedOutput()
		if got := saidWhy(err, out); got.Error() != test.want {
			t.Errorf("%s: %q, want %q", test.script, got, test.want)
		}
	}
}

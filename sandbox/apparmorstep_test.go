package sandbox_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// confining is a profile that lets a step do all but read one file.
const confining = `profile stepexec-test flags=(attach_disconnected,mediate_deleted) {
	file,
	capability,
	network,
	signal,
	ptrace,
	deny /forbidden r,
}
`

// TestStepIsConfinedByAnAppArmorProfile needs a kernel with AppArmor: the virtual
// machine's has it (scripts/vm).
func TestStepIsConfinedByAnAppArmorProfile(t *testing.T) {
	if enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err != nil || strings.TrimSpace(string(enabled)) != "Y" {
		t.Skip("this kernel runs without AppArmor")
	}
	load := exec.Command("apparmor_parser", "--replace", "--skip-cache")
	load.Stdin = strings.NewReader(confining)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("apparmor_parser: %v: %s", err, out)
	}
	host := openHost(t)
	step := script(t, "echo > /forbidden; cat /proc/self/attr/current; cat /forbidden && echo has read it")
	step.Shell = []string{"/bin/sh"}
	for profile, want := range map[string]string{
		"stepexec-test": "stepexec-test (enforce)\n",
		"unconfined":    "unconfined\n\nhas read it\n",
		"":              "unconfined\n\nhas read it\n",
	} {
		step.Security.AppArmor = profile
		stdout, stderr, exit := output(t, host, step)
		if stdout != want || profile == "stepexec-test" && (exit.Code != 1 || !strings.Contains(stderr, "Permission denied")) {
			t.Errorf("profile %q: exit code %d, output %q, %q; want %q", profile, exit.Code, stdout, stderr, want)
		}
	}
	step.Security.AppArmor = "no-such-profile"
	_, err := runStep(t, host, step, nil)
	if err == nil || !strings.Contains(err.Error(), "apparmor no-such-profile: the profile is not loaded on this host (apparmor_parser") {
		t.Errorf("a profile that is not loaded: %v", err)
	}
}

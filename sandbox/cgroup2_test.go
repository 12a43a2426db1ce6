package sandbox_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOnCgroup2Alone runs tests of this package again where /sys/fs/cgroup is
// cgroup v2 itself, whatever it is on this machine: in a mount namespace of
// their own. On a hybrid machine v1 keeps its controllers, so that these tests
// see v2 without any but hugetlb; those of the other controllers run in a
// virtual machine (scripts/vm).
func TestOnCgroup2Alone(t *testing.T) {
	tests := []string{
		"TestStepRunsItsScriptAndReportsHowItEnded",
		"TestStepSeesItsImageItsUserAndItsEnvironment",
		"TestPreparedSandboxCanBeRemovedWithoutRunning",
		"TestNextRunClearsAwayOneThatDied",
		"TestDevices", // in v2 they are a BPF program's
		"TestLimitsWithoutAControllerAreRefusedByName",
		"TestUsageOfAStepIsCounted",
		"TestUsageCountsProcessesThatNobodyWaitedFor",
		"TestCgroupParentIsMadeAndTakenAway",
		"TestCgroupParentOfSomebodyElseStays",
		"TestCgroupParentOfADeadRunIsTakenAway",
		"TestFrozenStepCanBeStopped",
		"TestFrozenStepCanBeRemoved",
		"TestCancelledStepGetsItsStopSignal",
		"TestSecondStopKillsAtOnce",
		"TestExecRunsAsTheStepDoesUnlessTold",
		"TestProgramsAreStartedWhateverAStepHasDoneToItsForkServer",
	}
	// Skips that are no fault. A machine that has v2 alone has its controllers too.
	skips := regexp.MustCompile(`^TestLimitsWithoutAControllerAreRefusedByName/`)

	program, err := os.Executable()
	must(t, err)
	const enter = `umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup /sys/fs/cgroup; exec "$0" "$@"`
	out, err := exec.Command("unshare", "--mount", "--cgroup", "sh", "-ec", enter,
		program, "-test.v", "-test.timeout=200s", "-test.run=^("+strings.Join(tests, "|")+")$").CombinedOutput()
	t.Logf("the tests on cgroup v2 alone:\n%s", out)
	must(t, err)
	passed, skipped := results(string(out), "PASS"), results(string(out), "SKIP")
	for _, name := range tests {
		if !slices.Contains(passed, name) {
			t.Errorf("%s did not pass", name)
		}
	}
	for _, name := range skipped {
		if !skips.MatchString(name) {
			t.Errorf("%s was skipped", name)
		}
	}
}

// results are the names of tests that ended in one way.
func results(log, ending string) []string {
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^ *--- `+ending+`: (\S+)`).FindAllStringSubmatch(log, -1) {
		names = append(names, match[1])
	}
	return names
}

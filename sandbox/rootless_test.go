package sandbox_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/rootless/rootlesstest"
)

// TestMain runs the tests of a user without root in a user namespace, as stepexec runs itself.
func TestMain(m *testing.M) {
	if err := rootless.Resume(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !rootless.Needed() {
		os.Exit(m.Run())
	}
	code, err := rootless.Run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// TestRootless runs the sandbox's tests once more, as a user without root.
func TestRootless(t *testing.T) {
	rootlesstest.Again(t, needRoot())
}

// needRoot are the tests that cannot be run without root, and why.
func needRoot() map[string]string {
	reasons := map[string][]string{
		"no cgroup is delegated to the user, so there are neither limits nor counters": {
			"TestCgroupParentIsMadeAndTakenAway", "TestCgroupParentOfSomebodyElseStays", "TestCgroupParentOfADeadRunIsTakenAway",
			"TestForkBombEndsWithTheStep", "TestForkBombStaysWithinItsLimit", "TestFrozenStepCanBeStopped", "TestFrozenStepCanBeRemoved",
			"TestKillingAGroupEndsWhatIsInItAndBelowIt", "TestLimitsAreWhatTheKernelEnforces", "TestUsageOfAStepIsCounted",
			"TestUsageCountsProcessesThatNobodyWaitedFor", "TestThrottledTimeIsCounted", "TestOutOfMemorySaysWhichLimit",
			"TestLeastMemoryStartsOrIsRefusedByName", "TestNothingOfAStepStaysInAJoinedProcessNamespace", "TestStepJoinsNamespaces/pid", "TestAStepThatJoinsProcessesAndCannotBeCreatedIsAnError",
			"TestProgramsOfAForkServerGetWhatTheRuntimeGives/limits", "TestStepsInWhichAForkServerCouldDifferHaveNone/processes_of_another", "TestCrowdOfProcessesEndsWithTheStep",
		},
		"users have pasta or slirp4netns, not a bridge with rules": {
			"TestPrivateNetworkReachesOutsideMasqueraded", "TestPacketsForLoopbackThatAreSentToTheGatewayAreDropped",
			"TestMissingPluginsAreNamedWithTheirPackage",
			"TestNetworkOfTheUsersOwnConfiguration", "TestNetworkThatCannotBeMadeLeavesNothing", "TestNextRunTakesAwayTheNetworkOfOneThatDied",
		},
		"no cgroup is delegated to the user, so that the runtime deletes containers": {
			"TestOnlyWhatIsKnownStartsAndEndsWithoutTheRuntime", "TestRuntimeIsAskedForItsVersionOnceUntilItIsAnother",
			"TestStartingAndEndingByCallsOfTheRuntime",
		},
		"users cannot make device nodes": {"TestDevicesInThePlaceOfPasswdAreNotOpened", "TestDevices", "TestCDIDevices"},
		"the run is in a user namespace already": {
			"TestUserNamespaceHasTheIDsItAsksFor", "TestWarningAboutFoldersIsOfThoseThatTheUserHasNot", "TestUserNamespaceIsSomebodyElseOnTheHost", "TestSetuidProgramsWorkInAUserNamespace",
			"TestWorkspaceOfAUserNamespaceGoesToItsOwner", "TestMapsThatCannotBeAreRefused", "TestRootOfAUserNamespaceIsReachedByItsOwnGroupAlone",
		},
		"what a step's root makes is the user's":        {"TestFilesThatRootMadeInTheWorkspaceGoToItsOwner", "TestTreesOfAnyDepthAreGivenAwayKeptAndRemoved", "TestTreeThatIsTooDeepIsAnErrorAndNotACrash"},
		"pasta gives every run the address of the host": {"TestRunsWithTheSamePortDoNotMeet"},
		"it mounts another cgroup file system":          {"TestOnCgroup2Alone"},
		"it writes to the host's /etc":                  {"TestUserOfTheHostIsNeverAsked"},
	}
	need := map[string]string{}
	for reason, tests := range reasons {
		for _, test := range tests {
			need[test] = reason
		}
	}
	return need
}

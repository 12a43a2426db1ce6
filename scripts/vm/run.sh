# What the guest runs, in the folder of the test programs (see boot.sh). The last
# line is the result: "vm: all passed" only if every test that is named here has.
set -o pipefail
groups=0 failed=0

fail() {
	echo "vm: FAILED: $*"
	failed=$((failed + 1))
}

# run RUNTIME PROGRAM TEST...: a test that is skipped, or that nobody has, fails.
run() {
	runtime=$1 program=$2
	shift 2
	groups=$((groups + 1))
	echo "vm: $program with $runtime"
	# A hundredth of a CPU that is emulated takes half a minute.
	STEPEXEC_TEST_RUNTIME=$runtime "./$program.test" -test.v -test.timeout 200s \
		-test.run "^($(echo "$*" | tr ' ' '|'))\$" -test.skip /least_cpus | tee /tmp/log ||
		fail "$program with $runtime"
	for name; do
		grep -q "^--- PASS: $name " /tmp/log || fail "$name with $runtime did not pass"
	done
	echo "vm: ended after $(cut -d' ' -f1 /proc/uptime) s"
}

# step_from_erofs: a whole step whose layers are EROFS images.
step_from_erofs() {
	groups=$((groups + 1))
	echo "=== RUN   StepFromErofsImages"
	if [ "$(./stepexec step --root /state --layer-format erofs oci:image:latest cat /etc/group | head -n 1)" = root:x:0: ] &&
		[ -n "$(find /state/layers -name fs.erofs)" ] && ! grep -q /state /proc/mounts; then
		echo "--- PASS: StepFromErofsImages (0.00s)"
	else
		echo "--- FAIL: StepFromErofsImages (0.00s)"
		fail "a step from EROFS images"
	fi
}

run runc sandbox TestLimitsAreWhatTheKernelEnforces TestLeastMemoryStartsOrIsRefusedByName \
	TestForkBombStaysWithinItsLimit TestForkBombEndsWithTheStep TestThrottledTimeIsCounted \
	TestOutOfMemorySaysWhichLimit TestUsageOfAStepIsCounted \
	TestCgroupParentIsMadeAndTakenAway TestCgroupParentOfSomebodyElseStays TestCgroupParentOfADeadRunIsTakenAway \
	TestFrozenStepCanBeStopped TestFrozenStepCanBeRemoved
run crun sandbox TestStepRunsItsScriptAndReportsHowItEnded TestStepSeesItsImageItsUserAndItsEnvironment \
	TestForkBombStaysWithinItsLimit TestOutOfMemorySaysWhichLimit TestCgroupParentIsMadeAndTakenAway \
	TestFrozenStepCanBeStopped TestFrozenStepCanBeRemoved TestNextRunClearsAwayOneThatDied
run runc erofs TestMountIsDetached TestImagesAreLowerDirectoriesOfOverlayfs TestEveryTypeOfFileKeepsItsMetadata TestHolesReadAsZeros
step_from_erofs

[ $failed = 0 ] && [ $groups -gt 0 ] && echo "vm: all passed"

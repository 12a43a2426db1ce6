# What the guest runs, in the folder of the test programs (see boot.sh). The last
# line is the result: "vm: all passed" only if every test that is named here has.
set -o pipefail
groups=0 failed=0

fail() {
	echo "vm: FAILED: $*"
	failed=$((failed + 1))
}

as= # what the tests are started by
not=/least_cpus # a hundredth of a CPU that is emulated takes half a minute

# run RUNTIME PROGRAM TEST...: a test that is skipped, or that nobody has, fails.
run() {
	runtime=$1 program=$2
	shift 2
	groups=$((groups + 1))
	echo "vm: $program with $runtime${as:+ by $as}"
	STEPEXEC_TEST_RUNTIME=$runtime $as "./$program.test" -test.v -test.timeout 200s \
		-test.run "^($(echo "$*" | tr ' ' '|'))\$" -test.skip "$not" | tee /tmp/log ||
		fail "$program with $runtime"
	for name; do
		grep -q "^--- PASS: $name " /tmp/log || fail "$name with $runtime did not pass"
	done
	echo "vm: ended after $(cut -d' ' -f1 /proc/uptime) s"
}

# step_from_erofs: a whole step whose layers are EROFS images.
step_from_erofs() {
	[ "$(./stepexec step --root /state --layer-format erofs oci:image:latest cat /etc/group | head -n 1)" = root:x:0: ] &&
		[ -n "$(find /state/layers -name fs.erofs)" ] && ! grep -q /state /proc/mounts
}

# check NAME COMMAND...: what is said of the command's success, as of a test.
check() {
	name=$1
	shift
	groups=$((groups + 1))
	echo "=== RUN   $name"
	if "$@"; then
		echo "--- PASS: $name (0.00s)"
	else
		echo "--- FAIL: $name (0.00s)"
		fail "$name"
	fi
}

# delegate GROUP: to alice, as systemd does for Delegate=yes, with a group in it for what is hers.
delegate() {
	group=/sys/fs/cgroup/$1
	mkdir -p "$group/session"
	for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
		echo +"$controller" >"$group/../cgroup.subtree_control"
	done
	for dir in "$group" "$group/session"; do
		chown alice "$dir" "$dir/cgroup.procs" "$dir/cgroup.threads" "$dir/cgroup.subtree_control"
	done
}

# says WANTED COMMAND...: WANTED is in what the command says, once, whatever it ends with.
says() {
	wanted=$1
	shift
	"$@" >/tmp/said 2>&1
	code=$?
	cat /tmp/said
	[ "$(grep -c "$wanted" /tmp/said)" = 1 ]
}

warns_once_of_what_is_not_delegated() {
	says 'not limited: memory: .*systemd-run --user --scope -p Delegate=yes' ./alice.sh init ./stepexec run two.yml && [ $code = 0 ]
}

tells_alice_of_her_limit() {
	says 'out of memory: .*limited to 32MiB' ./alice.sh user/alice/session ./stepexec step -m 32m oci:image tail /dev/zero && [ $code = 137 ]
}

doctor_knows_of_delegation() {
	says '^ok    cgroups .*memory' ./alice.sh user/alice/session ./stepexec doctor &&
		says '^warn  cgroups .*ignored' ./alice.sh init ./stepexec doctor
}

doctor_knows_of_apparmor() {
	says '^ok    security modules *AppArmor: the key apparmor works' ./stepexec doctor --root /state
}

run runc sandbox TestLimitsAreWhatTheKernelEnforces TestLeastMemoryStartsOrIsRefusedByName \
	TestForkBombStaysWithinItsLimit TestForkBombEndsWithTheStep TestThrottledTimeIsCounted \
	TestOutOfMemorySaysWhichLimit TestUsageOfAStepIsCounted \
	TestCgroupParentIsMadeAndTakenAway TestCgroupParentOfSomebodyElseStays TestCgroupParentOfADeadRunIsTakenAway \
	TestFrozenStepCanBeStopped TestFrozenStepCanBeRemoved
run crun sandbox TestStepRunsItsScriptAndReportsHowItEnded TestStepSeesItsImageItsUserAndItsEnvironment \
	TestForkBombStaysWithinItsLimit TestOutOfMemorySaysWhichLimit TestCgroupParentIsMadeAndTakenAway \
	TestFrozenStepCanBeStopped TestFrozenStepCanBeRemoved TestNextRunClearsAwayOneThatDied \
	TestConfigIsGoneOnceTheContainerExists TestExecIsKilledWithItsGroupWhenTheContextEnds \
	TestStreamsOfAnExecThatAreNotGivenAreTheNullDevice
run runc erofs TestMountIsDetached TestImagesAreLowerDirectoriesOfOverlayfs TestEveryTypeOfFileKeepsItsMetadata TestHolesReadAsZeros
check StepFromErofsImages step_from_erofs
run runc sandbox TestStepIsConfinedByAnAppArmorProfile
check DoctorKnowsOfAppArmor doctor_knows_of_apparmor

delegate user/alice
cat >two.yml <<end
steps:
  - {name: one, image: 'oci:image', memory: 64MiB, commands: ['true']}
  - {name: two, image: 'oci:image', memory: 64MiB, commands: ['true']}
end
as='./alice.sh user/alice/session' not='/(least|swap|by_default|without|weight|.*above)'
run runc sandbox TestLimitsAreWhatTheKernelEnforces TestOutOfMemorySaysWhichLimit TestForkBombStaysWithinItsLimit \
	TestUsageOfAStepIsCounted TestFrozenStepCanBeStopped
check RootlessOutOfMemoryIsToldWhereDelegated tells_alice_of_her_limit
check RootlessWarnsOnceWithoutDelegation warns_once_of_what_is_not_delegated
check DoctorKnowsOfDelegation doctor_knows_of_delegation

[ $failed = 0 ] && [ $groups -gt 0 ] && echo "vm: all passed"

# What the guest of systemd.sh runs, below systemd. The last line is the result.
insmod overlay.ko
failed=0
step="./stepexec step --root /state --systemd-cgroup"

expect() { # expect WANTED COMMAND...: WANTED is in what the command says
	wanted=$1
	shift
	echo "vm: $*"
	"$@" 2>&1 | tee /tmp/said
	grep -q "$wanted" /tmp/said || { echo "vm: FAILED: no $wanted"; failed=1; }
}

expect 'out of memory: .*limited to 32MiB' $step -m 32m --memory-swap 32m oci:image tail /dev/zero
expect '^50000 100000' $step --cpus 0.5 oci:image cat /sys/fs/cgroup/cpu.max
expect 'not the name of a systemd slice' $step --cgroup /ci oci:image true

# A step in a slice of its own, and the end of it when its run and the guard are killed.
run=$($step --cgroup ci-builds.slice -d oci:image sleep 1000)
expect "stepexec-$run-1.scope" ls /sys/fs/cgroup/ci.slice/ci-builds.slice
expect "stepexec-$run-1.scope" systemctl --no-pager list-units
guard=$(grep -lz '^guard$' /proc/[0-9]*/cmdline | cut -d/ -f3)
kill -STOP "$guard"
kill -9 "$(./stepexec ps --root /state | awk 'NR == 2 { print $4 }')"
kill -9 "$guard"
expect 'cleared away: 1 run' ./stepexec gc --root /state
expect '^0$' sh -c 'find /sys/fs/cgroup -name "stepexec-*" | wc -l'

STEPEXEC_TEST_SYSTEMD=1 ./sandbox.test -test.v -test.timeout 400s -test.run "^($(echo TestStepRunsItsScriptAndReportsHowItEnded \
	TestLimitsAreWhatTheKernelEnforces TestUsageOfAStepIsCounted TestForkBombStaysWithinItsLimit TestFrozenStepCanBeStopped \
	TestFrozenStepCanBeRemoved TestNextRunClearsAwayOneThatDied TestCancelledStepGetsItsStopSignal \
	TestPreparedSandboxCanBeRemovedWithoutRunning | tr ' ' '|'))\$" -test.skip /least_cpus || failed=1
expect '^0$' sh -c 'find /sys/fs/cgroup -name "stepexec-*" | wc -l'
[ $failed = 0 ] && echo "vm: all passed"

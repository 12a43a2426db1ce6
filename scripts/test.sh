#!/bin/sh
# Runs all tests with the race detector, and some again in a virtual machine with
# another kernel and cgroup v2 (scripts/vm), and the test suites of other projects against
# pull and unpack (foreign). The tests use real containers, and one
# that quietly does not run protects nobody: the run fails when a test is
# skipped that has passed nowhere else, unless scripts/allowed-skips names it.
set -u

mkdir -p out
failed=
export GORACE=atexit_sleep_ms=0 # else every program sleeps for a second at its end
go test -race -timeout 45m -v ./... >out/test.log 2>&1 || failed="out/test.log"
(cd foreign && go test -timeout 10m -v ./...) >out/foreign.log 2>&1 || failed="$failed out/foreign.log"
scripts/vm/test.sh >out/vm.log 2>&1 || failed="$failed out/vm.log"

for log in $failed; do
	echo "of $log, which has the whole:"
	grep -vE '^(=== (RUN|PAUSE|CONT|NAME)|\s*--- PASS|PASS$|ok )' "$log" | tail -n 300
done
grep -hE '^(ok|FAIL|\?)\s' out/test.log out/foreign.log
grep -E '^vm: ' out/vm.log

ended() { # ended PASS|FAIL|SKIP: the names of tests, once for every time
	grep -hE "^\s*--- $1" out/test.log out/foreign.log out/vm.log | awk '{ print $3 }' | sort
}
ended PASS | uniq >out/passed
for name in $(ended SKIP | uniq | comm -23 - out/passed); do
	if grep -qxF "$name" scripts/allowed-skips; then
		echo "skipped: $name"
	else
		echo "skipped, which is not allowed: $name"
		failed="$failed skips"
	fi
done
echo "$(ended PASS | wc -l) passed, $(ended FAIL | wc -l) failed, $(ended SKIP | wc -l) skipped"
[ -z "$failed" ]

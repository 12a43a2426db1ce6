#!/bin/sh
# Runs all tests with the race detector, and some again in a virtual machine with
# another kernel and cgroup v2 (scripts/vm), and the test suites of other projects against
# pull and unpack (foreign). The tests use real containers, and one
# that quietly does not run protects nobody: the run fails when a test is
# skipped that has passed nowhere else, unless scripts/allowed-skips names it.
set -u

mkdir -p out
rm -f out/*.log out/*.failed
export GORACE=atexit_sleep_ms=0 # else every program sleeps for a second at its end

run() { # run NAME COMMAND...: its output in out/NAME.log; out/NAME.failed is there when it fails
	name=$1
	shift
	"$@" >"out/$name.log" 2>&1 || : >"out/$name.failed"
}
tests() { go test -race -timeout 45m -v "$@"; }
foreign() { (cd foreign && go test -timeout 10m -v ./...); }

# The tests of the command line wait more than they work, and take as long as all the others: they
# run beside them, and those without root beside those with it.
command=./cmd/stepexec
run rootless tests -run '^TestRootless$' $command &
run command tests -skip '^TestRootless$' $command &
run packages tests $(go list ./... | grep -v '/cmd/stepexec$')
run foreign foreign
run vm scripts/vm/test.sh
wait

failed=$(ls out/*.failed 2>/dev/null | sed 's/failed$/log/')
for log in $failed; do
	echo "of $log, which has the whole:"
	grep -vE '^(=== (RUN|PAUSE|CONT|NAME)|\s*--- PASS|PASS$|ok )' "$log" | tail -n 300
done
grep -hE '^(ok|FAIL|\?)\s' out/*.log
grep -E '^vm: ' out/vm.log

ended() { # ended PASS|FAIL|SKIP: the names of tests, once for every time
	grep -hE "^\s*--- $1" out/*.log | awk '{ print $3 }' | sort
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

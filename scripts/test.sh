#!/bin/sh
# Runs all tests with the race detector, and some again in a virtual machine with
# another kernel and cgroup v2 (scripts/vm), and the test suites of other projects against
# pull and unpack (foreign). The tests use real containers, and one
# that quietly does not run protects nobody: the run fails when a test is
# skipped that has passed nowhere else, unless scripts/allowed-skips names it.
#
# A few tests that have failed beside the others are run once more, alone. One that passes then is
# printed as flaky: a fault to mend, of the test or of what it tests.
set -u

mkdir -p out && rm -f out/*.log out/*.failed out/*.flaky || exit 1
export GORACE=atexit_sleep_ms=0 # else every program sleeps for a second at its end

# A stream has failed until its tests have passed: also if they cannot run at all.
touch out/rootless.failed out/command.failed out/packages.failed out/foreign.failed out/vm.failed || exit 1

run() { # run STREAM COMMAND...: its output in out/STREAM.log; out/STREAM.failed is there unless it passes
	stream=$1
	shift
	touch "out/$stream.failed" || exit 1
	"$@" >"out/$stream.log" 2>&1 && rm "out/$stream.failed"
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

# Three failures at most are given a second chance, and never a data race, a crash, a hang or a leak.
# Tests without root had theirs already (rootless/rootlesstest).
for failed in out/rootless.failed out/command.failed out/packages.failed; do
	name=$(basename "$failed" .failed)
	[ -e "$failed" ] && ! grep -qE 'DATA RACE|^(panic|fatal error): |has not ended in|left behind:|failed( twice)? as a user without root: ' "out/$name.log" || continue
	# A program that was killed has no line FAIL of its own, and nobody knows what its other tests say.
	awk '/^--- FAIL: / { tests[$3] }
		/^FAIL$/ { ended = 1 }
		/^(ok|FAIL)\t/ {
			if ($1 == "FAIL") for (test in tests) print $2, test
			if ($1 == "FAIL" && !(ended && length(tests))) print $2, "-"
			delete tests
			ended = 0
		}' "out/$name.log" >out/failures
	grep -q . out/failures && ! grep -q ' -$' out/failures && [ "$(wc -l <out/failures)" -le 3 ] || continue
	mv "$failed" "out/$name.flaky"
	while read -r package test; do
		run "$name-again-$test" tests -count=1 -run "^$test\$" "$package"
		[ -e "out/$name-again-$test.failed" ] || echo "flaky, failed beside other tests and passed alone: $test of $package"
	done <out/failures
done

failed=$(ls out/*.failed 2>/dev/null | sed 's/failed$/log/')
for log in $failed $(ls out/*.flaky 2>/dev/null | sed 's/flaky$/log/'); do
	echo "of $log, which has the whole:"
	grep -vE '^\s*(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP)|PASS$|ok )' "$log" | tail -n 300
done
grep -hE '^(ok|FAIL|\?)\s' out/*.log
grep -E '^vm: ' out/vm.log
grep -hE '^\s*flaky, failed beside other tests and passed alone: ' out/*.log

ended() { # ended PASS|FAIL|SKIP: the names of tests, once for every time
	grep -hE "^\s*--- $1" out/*.log | awk '{ print $3 }' | sort
}
ended PASS | uniq >out/passed
skips=
for name in $(ended SKIP | uniq | comm -23 - out/passed); do
	if grep -qxF "$name" scripts/allowed-skips; then
		echo "skipped: $name"
	else
		echo "skipped, which is not allowed: $name"
		skips=forbidden
	fi
done
echo "$(ended PASS | wc -l) passed, $(grep -hE '^\s*--- FAIL' $failed /dev/null | wc -l) failed, $(ended SKIP | wc -l) skipped"
[ -z "$failed$skips" ]

#!/bin/sh
# Runs all tests with the race detector. Every skip is printed, and fails the
# run unless scripts/allowed-skips names the test: the tests use real
# containers, and one that quietly does not run protects nobody.
set -u

mkdir -p out
log=out/test.log
go test -race -timeout 20m -v ./... >"$log" 2>&1
status=$?

if [ $status != 0 ]; then
	# What failed, with what it printed; the whole is in the log.
	grep -vE '^(=== (RUN|PAUSE|CONT|NAME)|\s*--- PASS|PASS$|ok )' "$log" | tail -n 300
fi
grep -E '^(ok|FAIL|\?)\s' "$log"

skipped=$(grep -E '^\s*--- SKIP' "$log" | awk '{print $3}' | sort -u)
refused=
for name in $skipped; do
	if grep -qxF "$name" scripts/allowed-skips; then
		echo "skipped: $name"
	else
		echo "skipped, which is not allowed: $name"
		refused=1
	fi
done
passed=$(grep -cE '^\s*--- PASS' "$log")
failed=$(grep -cE '^\s*--- FAIL' "$log")
echo "$passed passed, $failed failed, $(echo "$skipped" | grep -c .) skipped"
[ -z "$refused" ] || exit 1
exit $status

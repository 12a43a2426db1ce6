#!/bin/sh
# The container hook of GitHub Actions: medians of how long the runner waits for each of
# its calls, in a job with one container of a small image. On the host's network, and on one
# of the job's own.
#
#   bench/hooks.sh [ROUNDS]
#
# The reference hook for docker took 671 ms to prepare, 171 for a script step, 443 for a
# container step and 286 to clean up, on a machine of the same kind with docker 20.10.
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-30}
CGO_ENABLED=0 go build -trimpath -o bin/stepexec ./cmd/stepexec
export STEPEXEC="$PWD/bin/stepexec"
for network in host private; do
	echo "network $network"
	STEPEXEC_HOOK_FLAGS="--network $network" go test ./cmd/stepexec -run '^$' -bench '^BenchmarkHook$' -benchtime "${rounds}x" | grep -E '^Benchmark' | tr '\t' '\n' | grep -E 'ms$'
done

#!/bin/sh
# The container hook of GitHub Actions: medians of how long the runner waits for each of
# its calls, in a job with one container of a small image. On the host's network, and on one
# of the job's own. first_script_step comes at once after prepare_job, which a runner's never
# does, and run_script_step are four more.
#
#   bench/hooks.sh [ROUNDS [PROGRAM...]]    # programs by turns; without any, that of this folder
#
# The reference hook for docker took 671 ms to prepare, 171 for a script step, 443 for a
# container step and 286 to clean up, on a machine of the same kind with docker 20.10.
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-30}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
	bench/install.sh bin/stepexec
	set -- "$PWD/bin/stepexec"
fi
for network in host private; do
	for program; do
		echo "network $network, ${program#"$PWD/"}, load average $(cut -d' ' -f1 /proc/loadavg)"
		STEPEXEC="$program" STEPEXEC_HOOK_FLAGS="--network $network" go test ./cmd/stepexec -run '^$' -bench '^BenchmarkHook$' -benchtime "${rounds}x" | grep -E '^Benchmark' | tr '\t' '\n' | grep -E 'ms$'
	done
done

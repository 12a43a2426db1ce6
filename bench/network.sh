#!/bin/bash
# The network of a run with two services and a step: how long until it is ready, and until it is taken
# away; and, where they are installed and run, what the same costs with docker and ctr. Needs root and Go.
# Everything of stepexec's is in a network namespace of its own.
# usage: bench/network.sh [ROUNDS]
set -eu -o pipefail
cd "$(dirname "$0")/.."
rounds=${1:-30}
echo "# stepexec: up (router, uplink, rules, name server, three containers plugged in), down; ms of $rounds rounds"
go test ./sandbox/network -run '^$' -bench '^BenchmarkNetworkOfARun$' -benchtime "${rounds}x" | grep ^Benchmark
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%s median %.1f ms\n", name, v[int((NR + 1) / 2)] }' name="$1"; }
ms() { local from to; from=$(date +%s%N); "$@" >/dev/null; to=$(date +%s%N); echo $(((to - from) / 10000)) | awk '{ print $1 / 100 }'; }
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
	image=${IMAGE:-busybox}
	for _ in $(seq "$rounds"); do ms docker network create stepexec-bench; docker network rm stepexec-bench >/dev/null; done | median "docker network create"
	docker network create stepexec-bench >/dev/null
	for _ in $(seq "$rounds"); do ms docker run --rm --network stepexec-bench "$image" true; done | median "docker run --network"
	for _ in $(seq "$rounds"); do ms docker run --rm --network none "$image" true; done | median "docker run --network none"
	docker network rm stepexec-bench >/dev/null
fi
if command -v ctr >/dev/null && ctr version >/dev/null 2>&1 && [ -n "${CTR_IMAGE:-}" ]; then
	for i in $(seq "$rounds"); do ms ctr run --cni --rm "$CTR_IMAGE" "bench-$i" true; done | median "ctr run --cni"
fi

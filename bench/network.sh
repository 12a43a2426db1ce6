#!/bin/bash
# The network of a run with two services and a step: how long until it is ready, and until it is taken
# away; and what the same costs with docker, where it runs, and with ctr, where containerd and CNI's plugins
# are installed. Needs root and Go.
# Everything but docker's is in network namespaces of its own.
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
if command -v ctr >/dev/null && command -v containerd >/dev/null && [ -x /usr/lib/cni/bridge ]; then
	# containerd and the CNI plugins as Debian has them, with a bridge of their own, in folders and a network namespace of their own.
	dir=$(mktemp -d)
	export dir rounds
	go run ./fixtures/cmd/fixtures busybox "$dir/busybox"
	tar -C "$dir/busybox" -cf "$dir/busybox.tar" .
	mkdir -p "$dir/cni" "$dir/bin"
	ln -s /usr/lib/cni/* "$dir/bin"
	cat >"$dir/cni/10-bench.conflist" <<-end
		{"cniVersion": "1.0.0", "name": "stepexec-bench", "plugins": [
		  {"type": "bridge", "bridge": "stepexec-bench", "isGateway": true, "ipMasq": true,
		   "ipam": {"type": "host-local", "dataDir": "$dir/addresses", "ranges": [[{"subnet": "10.214.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
		  {"type": "portmap", "capabilities": {"portMappings": true}}, {"type": "firewall"}]}
	end
	export -f median ms
	unshare --mount --net --propagation private bash -eu -o pipefail -c '
		ip link set lo up
		mkdir -p /etc/cni/net.d /opt/cni/bin
		mount --bind "$dir/cni" /etc/cni/net.d
		mount --bind "$dir/bin" /opt/cni/bin
		containerd --root "$dir/root" --state "$dir/state" --address "$dir/sock" >"$dir/log" 2>&1 &
		daemon=$!
		trap "kill $daemon; wait $daemon || :" EXIT
		tries=0
		until ctr -a "$dir/sock" version >/dev/null 2>&1; do
			tries=$((tries + 1))
			[ "$tries" -lt 300 ] || { cat "$dir/log"; echo "waited 30 s for containerd"; exit 1; }
			sleep 0.1
		done
		ctr -a "$dir/sock" images import --base-name bench "$dir/busybox.tar" >/dev/null
		image=$(ctr -a "$dir/sock" images ls -q | head -1)
		for net in --cni --null-io; do
			for i in $(seq "$rounds"); do ms ctr -a "$dir/sock" run --rm $net "$image" "bench-$i" true; done | median "ctr run ${net/--null-io/without a network}"
		done'
	rm -rf "$dir"
fi

#!/bin/bash
# Warm steps, side by side: stepexec against a bare runc loop and, where they are
# installed, ctr (containerd), docker and podman. All run the same busybox image,
# on the host's network, with the workspace mounted. Needs root; starts and
# stops the daemons itself. usage: bench/run.sh [ROUNDS]
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-9}
dir=/tmp/stepexec-bench.$$ # lower case: podman refuses other paths as image names
mkdir "$dir"
go build -o "$dir/interleave" ./bench/interleave
go build -trimpath -o "$dir/stepexec" ./cmd/stepexec
pids=
finish() {
	for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid" || true; done
	# What the peers leave mounted.
	awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
	rm -rf "$dir"
}
trap finish EXIT
have() { command -v "$1" >/dev/null; }
until_ok() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; "$@"; }

go run ./fixtures/cmd/fixtures busybox "$dir/busybox"
mkdir -p "$dir/ws"

# The pipelines: one step, ten steps.
step() { printf '  - {name: s%s, image: "oci:../busybox", commands: ["echo hello"]}\n' "$1"; }
{ echo steps:; step 1; } >"$dir/ws/one.yml"
{ echo steps:; for i in $(seq 10); do step "$i"; done; } >"$dir/ws/ten.yml"
run="$dir/stepexec run --root $dir/root"

# runc without anything around it but a flat root directory: the floor. The
# profile is the one that stepexec gives a step.
mkdir -p "$dir/bundle/rootfs/bin"
cp /bin/busybox "$dir/bundle/rootfs/bin/sh"
(cd "$dir/bundle" && runc spec && python3 - "$dir/ws" <<'PY'
import json, sys
c = json.load(open('config.json'))
c['process'].update(terminal=False, args=['sh', '-c', 'echo hello'])
c['root']['readonly'] = False
c['linux']['namespaces'] = [n for n in c['linux']['namespaces'] if n['type'] != 'network']
c['mounts'].append(dict(type='bind', source=sys.argv[1], destination='/workspace', options=['rbind', 'rw']))
json.dump(c, open('config.json', 'w'))
PY
)
repeat="for i in 1 2 3 4 5 6 7 8 9 10; do"
one="stepexec\t$run $dir/ws/one.yml\n"
ten="stepexec\t$run $dir/ws/ten.yml\n"
add() { # add NAME COMMAND
	one="$one$1\t$2\n"
	ten="$ten$1\t$repeat $2; done\n"
}
add "runc (no seccomp, no image)" "runc run -b $dir/bundle bench-floor"

if have containerd && have ctr; then
	printf 'version = 2\nroot = "%s/cd-root"\nstate = "%s/cd-state"\n[grpc]\naddress = "%s/cd.sock"\n' "$dir" "$dir" "$dir" >"$dir/cd.toml"
	containerd -c "$dir/cd.toml" >"$dir/cd.log" 2>&1 &
	pids="$! $pids"
	ctr="ctr -a $dir/cd.sock"
	until_ok $ctr version
	tar -C "$dir/busybox" -cf "$dir/busybox.tar" .
	$ctr image import --base-name bench/busybox "$dir/busybox.tar" >/dev/null
	name=$($ctr image ls -q | head -n 1)
	add ctr "$ctr run --rm --net-host --seccomp --mount type=bind,src=$dir/ws,dst=/workspace,options=rbind:rw $name bench sh -c \"echo hello\""
fi
if have dockerd && have docker && have skopeo; then
	dockerd --iptables=false --bridge=none --data-root "$dir/docker" --exec-root "$dir/docker-run" -p "$dir/docker.pid" \
		-H "unix://$dir/docker.sock" >"$dir/docker.log" 2>&1 &
	pids="$! $pids"
	docker="docker -H unix://$dir/docker.sock"
	until_ok $docker version
	skopeo copy -q "oci:$dir/busybox:latest" "docker-archive:$dir/docker.tar:bench:latest"
	$docker load -q -i "$dir/docker.tar" >/dev/null
	add docker "$docker run --rm --network host -v $dir/ws:/workspace bench sh -c \"echo hello\""
fi
if have podman; then
	podman="podman --root $dir/podman --runroot $dir/podman-run"
	$podman pull -q "oci:$dir/busybox:latest" >/dev/null
	image=$($podman images -q | head -n 1)
	add podman "$podman --runtime runc run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network host -v $dir/ws:/workspace $image sh -c \"echo hello\""
fi

uname -sr; nproc; "$dir/stepexec" version; runc --version | head -n 1
for peer in ctr dockerd podman; do have $peer && $peer --version; done
echo "== one warm step"
printf "$one" | "$dir/interleave" -n "$rounds"
echo "== ten warm steps in a row"
printf "$ten" | "$dir/interleave" -n "$rounds"

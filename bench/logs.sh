#!/bin/bash
# Output, side by side: a container writes 1 GiB of lines of 100 bytes. runc straight into a file
# (the floor: nobody reads, nothing is masked), stepexec into a file, as plain text and as JSON, with a record, and with 20
# secrets to mask, and, where they are installed, ctr, docker (json-file) and podman. All run the same
# busybox image on the host's network. Needs root; starts and stops the daemons itself.
# usage: bench/logs.sh [ROUNDS [MiB]]
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-5}
mib=${2:-1024}
dir=/tmp/stepexec-logs.$$
mkdir "$dir"
go build -o "$dir/interleave" ./bench/interleave
bench/install.sh "$dir/stepexec"
pids=
finish() {
	for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid" || true; done
	awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
	rm -rf "$dir"
}
trap finish EXIT
have() { command -v "$1" >/dev/null; }
until_ok() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; "$@"; }

go run ./fixtures/cmd/fixtures busybox "$dir/busybox"
mkdir -p "$dir/ws"
# 16 MiB of lines, as a build prints them; the container prints them again and again.
python3 - "$dir" <<'PY'
import random, string, sys
words = 'compiling src/main.c warning: ok 0.123s PASS github.com/acme/tool linking error INFO 2026-11-23T14:00:00Z a1b2c3d4 -O2 Downloading'.split()
rnd = random.Random(1)
with open(sys.argv[1] + '/ws/lines', 'w') as f:
    size = 0
    while size < 16 << 20:
        line = ''
        while len(line) < 99:
            line += rnd.choice(words) + ' '
        size += f.write(line[:99] + '\n')
with open(sys.argv[1] + '/secrets.env', 'w') as f:
    for i in range(20):
        f.write('secret_%d=%s\n' % (i, ''.join(rnd.choice(string.ascii_letters + string.digits) for _ in range(20 + i))))
PY
print='i=0; while [ $i -lt '$((mib / 16))' ]; do cat /workspace/lines; i=$((i+1)); done'
step="{name: s, image: \"oci:../busybox\", entrypoint: [sh, -c], args: ['$print']"
printf 'steps:\n  - %s, output: "file:out"}\n' "$step" >"$dir/ws/file.yml"
printf 'steps:\n  - %s, output_limit: 1t}\n' "$step" >"$dir/ws/log.yml"
printf 'output_limit: 1TB\nhistory: {max_size: 1TB}\n' >"$dir/settings.yml"
run="$dir/stepexec run --settings $dir/settings.yml --root $dir/root"
mkdir -p "$dir/bundle/rootfs/bin"
cp /bin/busybox "$dir/bundle/rootfs/bin/sh"
cp /bin/busybox "$dir/bundle/rootfs/bin/cat"
(cd "$dir/bundle" && runc spec && python3 - "$dir/ws" "$print" <<'PY'
import json, sys
c = json.load(open('config.json'))
c['process'].update(terminal=False, args=['sh', '-c', sys.argv[2]])
c['linux']['namespaces'] = [n for n in c['linux']['namespaces'] if n['type'] != 'network']
c['mounts'].append(dict(type='bind', source=sys.argv[1], destination='/workspace', options=['rbind', 'rw']))
json.dump(c, open('config.json', 'w'))
PY
)
commands=
fresh="rm -rf $dir/ws/out $dir/out $dir/root/history"
add() { commands="$commands$1\t$2\t$fresh\n"; }
add "runc > file" "runc run -b $dir/bundle bench-logs >$dir/out"
add "stepexec, output: file, 20 secrets" "$run --secret-file $dir/secrets.env $dir/ws/file.yml"
add "stepexec, output: file" "$run $dir/ws/file.yml"
add "stepexec plain > file, record, 20 secrets" "$run --output plain --secret-file $dir/secrets.env $dir/ws/log.yml >$dir/out"
add "stepexec json > file, record, 20 secrets" "$run --output json --secret-file $dir/secrets.env $dir/ws/log.yml >$dir/out"
add "stepexec step > file" "$dir/stepexec step --root $dir/root --workspace $dir/ws oci:$dir/busybox sh -c '$print' >$dir/out"
if have containerd && have ctr; then
	printf 'version = 2\nroot = "%s/cd-root"\nstate = "%s/cd-state"\n[grpc]\naddress = "%s/cd.sock"\n' "$dir" "$dir" "$dir" >"$dir/cd.toml"
	containerd -c "$dir/cd.toml" >"$dir/cd.log" 2>&1 &
	pids="$! $pids"
	ctr="ctr -a $dir/cd.sock"
	until_ok $ctr version
	tar -C "$dir/busybox" -cf "$dir/busybox.tar" .
	$ctr image import --base-name bench/busybox "$dir/busybox.tar" >/dev/null
	name=$($ctr image ls -q | head -n 1)
	mount="--mount type=bind,src=$dir/ws,dst=/workspace,options=rbind:rw"
	add "ctr run > file" "$ctr run --rm --net-host $mount $name bench sh -c '$print' >$dir/out"
fi
if have dockerd && have docker && have skopeo; then
	dockerd --iptables=false --bridge=none --data-root "$dir/docker" --exec-root "$dir/docker-run" -p "$dir/docker.pid" \
		-H "unix://$dir/docker.sock" >"$dir/docker.log" 2>&1 &
	pids="$! $pids"
	docker="docker -H unix://$dir/docker.sock"
	until_ok $docker version
	skopeo copy -q "oci:$dir/busybox:latest" "docker-archive:$dir/docker.tar:bench:latest"
	$docker load -q -i "$dir/docker.tar" >/dev/null
	add "docker run (json-file) > file" "$docker run --rm --network host -v $dir/ws:/workspace bench sh -c '$print' >$dir/out"
fi
if have podman; then
	podman="podman --root $dir/podman --runroot $dir/podman-run"
	$podman pull -q "oci:$dir/busybox:latest" >/dev/null
	image=$($podman images -q | head -n 1)
	add "podman run > file" "$podman --runtime runc run --rm --log-driver k8s-file --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network host -v $dir/ws:/workspace $image sh -c '$print' >$dir/out"
fi

uname -sr; nproc; "$dir/stepexec" version; runc --version | head -n 1
echo "== $mib MiB of lines of 100 bytes"
printf "$commands" | "$dir/interleave" -n "$rounds"

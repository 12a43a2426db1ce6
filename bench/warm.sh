#!/bin/bash
# Warm steps, side by side: stepexec against loops of a bare runc run and, where they
# are installed, of ctr (containerd), docker and podman. Everybody has the images
# already, the host's network and the workspace mounted. Needs root, Go and python3;
# the last part also debootstrap and some GB of disk. Starts and stops the daemons itself.
# usage: bench/warm.sh [ROUNDS [PART...]]    parts: start one chain long boundary wide crun many medium
# PEERS='runc|ctr' leaves the others out; CRUN=PATH is the crun to use.
set -eu -o pipefail
cd "$(dirname "$0")/.."
rounds=${1:-9}
[ $# -gt 1 ] && shift && parts=" $* " || parts=" start one chain long boundary wide crun many medium "
dir=/tmp/warm.$$ # short and lower case: podman refuses other paths
mkdir "$dir"
export dir
pids=
finish() {
	for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid" || true; done
	# What the peers leave mounted.
	awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
	rm -rf "$dir"
}
trap finish EXIT
go build -o "$dir/interleave" ./bench/interleave
go build -o "$dir/images" ./bench/images
bench/install.sh "$dir/stepexec"
have() { command -v "$1" >/dev/null; }
until_ok() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; "$@"; }
want() { case $parts in *" $1 "*) ;; *) return 1 ;; esac; }

go run ./fixtures/cmd/fixtures busybox "$dir/busybox"
mkdir -p "$dir/ws"
stepexec="$dir/stepexec run --root $dir/root"

# pipeline IMAGE N COMMAND [wide]: a file with N steps, one after the other or all at once.
pipeline() {
	local file="$dir/ws/$1-$2-${3%% *}-${4:-chain}.yml"
	{
		echo steps:
		for i in $(seq "$2"); do
			printf '  - {name: s%s, image: "oci:../%s", %scommands: ["%s"]}\n' "$i" "$1" "${4:+depends_on: [], }" "$3"
		done
	} >"$file"
	echo "$file"
}

# The floor: runc with a flat root directory. As `runc spec` has it there is no seccomp
# profile; "same spec" is the container that stepexec makes of a step.
mkdir -p "$dir/bundle/rootfs/bin" "$dir/same"
cp /bin/busybox "$dir/bundle/rootfs/bin/sh"
cp /bin/busybox "$dir/bundle/rootfs/bin/true"
cp /bin/busybox "$dir/bundle/rootfs/bin/sleep"
spec=$(pipeline busybox 1 true)
"$dir/stepexec" spec --root "$dir/root" "$spec" s1 >"$dir/spec.json"
bundle() { # bundle DIR COMMAND...: both config.json for the command
	python3 - "$@" <<'PY'
import json, os, subprocess, sys
dir, args = os.environ['dir'], sys.argv[2:]
out = os.path.join(dir, sys.argv[1])
for name in ('plain', 'same'):
    bundle = os.path.join(out, name)
    if os.path.exists(bundle + '/config.json'):
        continue
    os.makedirs(bundle)
    if name == 'plain':
        subprocess.run(['runc', 'spec'], cwd=bundle, check=True)
        c = json.load(open(bundle + '/config.json'))
        c['linux']['namespaces'] = [n for n in c['linux']['namespaces'] if n['type'] != 'network']
        c['mounts'].append(dict(type='bind', source=dir + '/ws', destination='/workspace', options=['rbind', 'rw']))
    else:
        c = json.load(open(dir + '/spec.json'))
        c['mounts'] = [m for m in c['mounts'] if m['type'] != 'bind' or m['destination'] == '/workspace']
        c['linux'].pop('cgroupsPath')
    c['process'].update(terminal=False, args=args)
    c['root'] = dict(path=dir + '/bundle/rootfs', readonly=False)
    json.dump(c, open(bundle + '/config.json', 'w'))
PY
}

if have containerd && have ctr; then
	printf 'version = 2\nroot = "%s/cd-root"\nstate = "%s/cd-state"\n[grpc]\naddress = "%s/cd.sock"\n' "$dir" "$dir" "$dir" >"$dir/cd.toml"
	containerd -c "$dir/cd.toml" >"$dir/cd.log" 2>&1 &
	pids="$! $pids"
	ctr="ctr -a $dir/cd.sock"
	until_ok $ctr version
fi
if have dockerd && have docker && have skopeo; then
	dockerd --iptables=false --bridge=none --data-root "$dir/docker" --exec-root "$dir/docker-run" -p "$dir/docker.pid" \
		-H "unix://$dir/docker.sock" >"$dir/docker.log" 2>&1 &
	pids="$! $pids"
	docker="docker -H unix://$dir/docker.sock"
	until_ok $docker version
fi
if have podman; then podman="podman --root $dir/podman --runroot $dir/podman-run"; fi

load() { # load IMAGE: gives it to all peers
	"$dir/stepexec" pull --root "$dir/root" "oci:$dir/$1" >/dev/null
	if [ -n "${ctr:-}" ]; then tar -C "$dir/$1" -c . | $ctr image import --base-name "bench/$1" - >/dev/null; fi
	if [ -n "${docker:-}" ]; then
		skopeo copy -q "oci:$dir/$1:latest" "docker-archive:$dir/$1.docker:bench-$1:latest"
		$docker load -q -i "$dir/$1.docker" >/dev/null
		rm "$dir/$1.docker"
	fi
	if [ -n "${podman:-}" ]; then $podman pull -q "oci:$dir/$1:latest" >"$dir/$1.podman"; fi
}

# peers IMAGE COMMAND: NAME TAB SHELL COMMAND of everybody but stepexec; $i is free for a number.
peers() { all_peers "$@" | grep -E "^(${PEERS:-.*})"; }
all_peers() {
	local image=$1
	shift
	bundle "b-$1" "/bin/$1" ${2:-}
	printf 'runc run\trunc run -b %s/b-%s/plain warm-$$-$i\n' "$dir" "$1"
	printf 'runc run, same spec\trunc run -b %s/b-%s/same warm-$$-$i\n' "$dir" "$1"
	if [ -n "${ctr:-}" ]; then
		printf 'ctr\t%s run --rm --net-host --seccomp --mount type=bind,src=%s/ws,dst=/workspace,options=rbind:rw %s warm-$$-$i %s\n' \
			"$ctr" "$dir" "$($ctr image ls -q | grep "/$image[:@]" | head -n 1)" "$*"
	fi
	if [ -n "${docker:-}" ]; then printf 'docker\t%s run --rm --network host -v %s/ws:/workspace bench-%s %s\n' "$docker" "$dir" "$image" "$*"; fi
	if [ -n "${podman:-}" ]; then
		printf 'podman\t%s --runtime runc run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network host -v %s/ws:/workspace %s %s\n' \
			"$podman" "$dir" "$(cat "$dir/$image.podman")" "$*"
	fi
}
loop() { awk -F '\t' -v n="$1" '{ printf "%s\tfor i in $(seq %d); do %s || exit; done\n", $1, n, $2 }'; }
crowd() { awk -F '\t' -v n="$1" '{ gsub(/\$i/, "{}", $2); gsub(/\$\$/, "p", $2); printf "%s\tseq %d | xargs -P %d -I {} sh -c \"%s\"\n", $1, n, n, $2 }'; }
compare() { # compare ROUNDS TITLE PIPELINE: standard input has the peers
	echo "== $2"
	{ printf 'stepexec\t%s %s\n' "$stepexec" "$3"; cat; } | "$dir/interleave" -n "$1"
}
few=$(((rounds + 2) / 3))

uname -sr; nproc; uptime; "$dir/stepexec" version; runc --version | head -n 1
for peer in crun ctr dockerd podman; do have $peer && $peer --version | head -n 1; done
load busybox
if want start; then
	echo "== start of the program"
	printf 'stepexec version\t%s version\nrunc --version\trunc --version\n' "$dir/stepexec" | "$dir/interleave" -n $((rounds * 3))
fi
if want one; then peers busybox true | loop 1 | compare $((rounds * 2)) "one step, true" "$(pipeline busybox 1 true)"; fi
if want chain; then
	peers busybox true | loop 10 | compare "$rounds" "10 steps in a row, true" "$(pipeline busybox 10 true)"
	peers busybox true | loop 100 | compare "$few" "100 steps in a row, true" "$(pipeline busybox 100 true)"
fi
# A thousand calls of docker or podman take five minutes: ALL=1 asks for them.
if want long; then
	peers busybox true | if [ -n "${ALL:-}" ]; then cat; else head -n 1; fi | loop 1000 |
		compare 1 "1000 steps in a row, true" "$(pipeline busybox 1000 true)"
fi
# What is over 100 ms a step is the price of a step boundary; for stepexec it is
# (ten steps - one step) / 9 - 100 ms, without its start.
if want boundary; then
	{
		printf 'stepexec, 1 step\t%s %s\n' "$stepexec" "$(pipeline busybox 1 "sleep 0.1")"
		peers busybox sleep 0.1 | loop 10
	} | compare "$rounds" "10 steps in a row, sleep 0.1" "$(pipeline busybox 10 "sleep 0.1")"
fi
if want wide; then peers busybox true | crowd 100 | compare "$few" "100 steps at once, true" "$(pipeline busybox 100 true wide)"; fi
# crun takes no hybrid cgroups: both runtimes in a mount namespace with cgroup v2 alone. It wants to
# lift RLIMIT_MEMLOCK, for which a machine's root may lack CAP_SYS_RESOURCE.
if want crun && have "${CRUN:=crun}"; then
	for n in 1 10; do
		file=$(pipeline busybox $n true)
		echo "== $n steps in a row, true, cgroup v2 alone"
		printf 'stepexec, runc\t%s %s\nstepexec, crun\t%s --runtime %s %s\n' "$stepexec" "$file" "$stepexec" "$CRUN" "$file" >"$dir/crun.tsv"
		unshare -m -C --fork sh -c "mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && \
			exec $dir/interleave -n $rounds" <"$dir/crun.tsv" || echo "crun does not run steps here (see above)"
	done
fi
# Images of 60 layers, and of 600 MB.
for image in many medium; do
	want $image || continue
	"$dir/images" $image gzip "$dir/$image"
	load $image
	peers $image true | loop 1 | compare "$rounds" "$image image: one step, true" "$(pipeline $image 1 true)"
	peers $image true | loop 10 | compare "$few" "$image image: 10 steps in a row, true" "$(pipeline $image 10 true)"
done

#!/bin/bash
# Cold starts, side by side: pull and unpack an image that is not there, from a
# registry on loopback. stepexec against ctr (containerd), docker, podman and
# skopeo + umoci where they are installed, and against two floors: the layers
# decompressed to /dev/null, and piped into tar -x, two at a time. Every round has
# fresh directories; nothing is removed before the end, for on ext4 making files
# after removing others is ten times slower. And a pipeline of three steps with an
# image each, none of which is there: how long until the first step prints, and until
# the end. CONTAINERD2=DIR adds containerd 2.x from DIR, a full path, which the script
# does not build (go install github.com/containerd/containerd/v2/cmd/{containerd,ctr}@latest).
# Needs root, docker-registry, Go, python3 and about 50 GB of disk; starts and stops
# all daemons itself.
# usage: bench/cold.sh [ROUNDS [PART...]]    parts: images pipeline
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-5}
[ $# -gt 1 ] && shift && parts=" $* " || parts=" images pipeline "
dir=/tmp/cold.$$ # short: podman takes 50 bytes for its directory
mkdir "$dir"
registry=127.0.0.1:$((20000 + $$ % 10000))
export dir registry
stop() { # stop FILE: ends the daemon whose id the file holds
	[ -e "$1" ] || return 0
	kill "$(cat "$1")" 2>/dev/null || true
	while kill -0 "$(cat "$1")" 2>/dev/null; do sleep 0.05; done
	rm -f "$1"
}
finish() {
	for pid in "$dir"/*.pid; do stop "$pid"; done
	awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
	rm -rf "$dir"
}
trap finish EXIT
have() { command -v "$1" >/dev/null; }
want() { case $parts in *" $1 "*) ;; *) return 1 ;; esac; }

go build -o "$dir/interleave" ./bench/interleave
go build -o "$dir/images" ./bench/images
go build -o "$dir/fixtures" ./fixtures/cmd/fixtures
bench/install.sh "$dir/stepexec"
printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "%s"}\n' \
	"$dir" "$registry" >"$dir/registry.yml"
docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 &
echo $! >"$dir/registry.pid"
for image in medium many; do
	for compression in gzip zstd; do
		want images || [ $compression = gzip ] || continue
		"$dir/images" $image $compression "$dir/layout-$image-$compression"
		"$dir/fixtures" push "$dir/layout-$image-$compression" "$registry/$image-$compression:latest"
		python3 - "$dir/layout-$image-$compression" >"$dir/blobs-$image-$compression" <<'PY'
import json, sys
blob = lambda d: json.load(open(sys.argv[1] + '/blobs/' + d.replace(':', '/')))
index = json.load(open(sys.argv[1] + '/index.json'))
for layer in sorted(blob(index['manifests'][0]['digest'])['layers'], key=lambda l: -l['size']):
    print(layer['digest'])
PY
	done
done

# daemon.sh NAME: what runs before a daemon's turn. It gets a new, empty directory.
cat >"$dir/daemon.sh" <<'SH'
#!/bin/bash
set -eu
note() { [ ! -e "$dir/$1.pid" ] || awk '/^VmHWM/ { print $2 }' "/proc/$(cat "$dir/$1.pid")/status" >>"$dir/$1.peak" || true; }
stop() {
	[ -e "$1" ] || return 0
	kill "$(cat "$1")" 2>/dev/null || true
	while kill -0 "$(cat "$1")" 2>/dev/null; do sleep 0.05; done
	rm -f "$1"
}
until_ok() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; "$@"; }
n=$(date +%s%N)
note "$1"
stop "$dir/$1.pid"
case $1 in
containerd | containerd2)
	if [ $1 = containerd2 ]; then PATH=$CONTAINERD2:$PATH; fi
	printf 'version = 2\nroot = "%s-%s"\nstate = "%s-state-%s"\n[grpc]\naddress = "%s.sock"\n' "$dir/$1" $n "$dir/$1" $n "$dir/$1" >"$dir/$1.toml"
	setsid containerd -c "$dir/$1.toml" >"$dir/$1.log" 2>&1 </dev/null &
	echo $! >"$dir/$1.pid"
	until_ok ctr -a "$dir/$1.sock" version ;;
dockerd)
	setsid dockerd --iptables=false --bridge=none --data-root "$dir/docker-$n" --exec-root "$dir/docker-run-$n" -p "$dir/docker-$n.id" \
		-H "unix://$dir/docker.sock" >"$dir/docker.log" 2>&1 </dev/null &
	echo $! >"$dir/dockerd.pid"
	until_ok docker -H "unix://$dir/docker.sock" version ;;
esac
sync
SH
# floor.sh IMAGE DECOMPRESSOR extract|null
cat >"$dir/floor.sh" <<'SH'
#!/bin/bash
set -eu
export image=$1 command=$2 how=$3 n=$(date +%s%N)
one() {
	set -o pipefail
	mkdir -p "$dir/floor/$n/$1"
	if [ "$how" = null ]; then curl -sf "http://$registry/v2/$image/blobs/$1" | $command >/dev/null
	else curl -sf "http://$registry/v2/$image/blobs/$1" | $command | tar -x --numeric-owner -p -C "$dir/floor/$n/$1"; fi
}
export -f one
xargs -P 2 -I {} bash -c 'one {}' <"$dir/blobs-$image"
SH
chmod +x "$dir/daemon.sh" "$dir/floor.sh"

lines() { # lines IMAGE DECOMPRESSOR...: the commands to compare
	local image=$1 ref=$registry/$1:latest
	shift
	line() { printf '%s\t%s\t%s\n' "$1" "$2" "${3:-sync}"; }
	line stepexec "exec $dir/stepexec pull --root $dir/root-\$(date +%s%N) $ref"
	line "stepexec, erofs" "exec $dir/stepexec pull --layer-format erofs --root $dir/root-\$(date +%s%N) $ref"
	if have containerd && have ctr; then line ctr "exec ctr -a $dir/containerd.sock image pull --plain-http $ref" "$dir/daemon.sh containerd"; fi
	if [ -n "${CONTAINERD2-}" ]; then line "ctr, containerd 2" "exec $CONTAINERD2/ctr -a $dir/containerd2.sock image pull --plain-http $ref" "$dir/daemon.sh containerd2"; fi
	# docker 20.10 has no zstd layers
	if have dockerd && have docker && docker_takes "$image"; then
		line docker "exec docker -H unix://$dir/docker.sock pull -q $ref" "$dir/daemon.sh dockerd"
	fi
	if have podman; then line podman "n=\$(date +%s%N); exec podman --root $dir/podman-\$n --runroot $dir/p\$n pull -q --tls-verify=false $ref"; fi
	if have skopeo && have umoci && [ "${image#*-}" = gzip ]; then
		line "skopeo + umoci" "n=\$(date +%s%N); skopeo copy -q --src-tls-verify=false docker://$ref oci:$dir/oci-\$n:latest && umoci unpack --image $dir/oci-\$n:latest $dir/umoci-\$n"
	fi
	for decompressor; do
		have "${decompressor%% *}" || continue
		line "floor: $decompressor" "$dir/floor.sh $image '$decompressor' null"
		line "floor: $decompressor | tar -x" "$dir/floor.sh $image '$decompressor' extract"
	done
}
docker_takes() { [ "${1#*-}" = gzip ] || dpkg --compare-versions "$(dockerd --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')" ge 23; }

uname -sr; nproc; "$dir/stepexec" version
for peer in ctr "${CONTAINERD2:+$CONTAINERD2/ctr}" dockerd podman skopeo umoci gzip igzip zstd; do if have $peer; then $peer --version 2>&1 | head -n 1; fi; done
for image in medium many; do
	want images || continue
	for compression in gzip zstd; do
		echo "== $image image, $compression: $(wc -l <"$dir/blobs-$image-$compression") layers, $(du -sm "$dir/layout-$image-$compression" | cut -f 1) MiB compressed"
		case $compression in
		gzip) lines $image-gzip "gzip -dc" "igzip -dc" ;;
		zstd) lines $image-zstd "zstd -dcq" ;;
		esac | "$dir/interleave" -n "$rounds"
	done
done

# Three steps with an image each, in an empty store. The order of images decides how much a step that
# starts as soon as its own is there gains: with the small one first, or the large one.
cat >"$dir/pipeline.py" <<'PY'
import statistics, subprocess, sys, time
rounds, lines = int(sys.argv[1]), [line.rstrip('\n').split('\t') for line in sys.stdin]
first, whole = {}, {}
for n in range(rounds + 1):
    for name, command, prepare in lines if n % 2 else reversed(lines):
        subprocess.run(prepare, shell=True, check=True, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        process = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        printed, output = None, ''
        for line in process.stdout:
            if printed is None and 'line of step 1' in line:
                printed = time.monotonic() - began
            output += line
        if process.wait() or printed is None or 'line of step 3' not in output:
            sys.exit(f'{name}: {output}')
        if n: # the first round is not counted
            first.setdefault(name, []).append(printed * 1000)
            whole.setdefault(name, []).append((time.monotonic() - began) * 1000)
print(f'{"command":>40} {"first line: median ms":>22} {"min":>7} {"max":>7} {"of the first":>13} {"end: median ms":>15} {"min":>7} {"max":>7} {"of the first":>13}')
for name, _, _ in lines:
    cells = [f'{name:>40}']
    for all, wide in (first, 22), (whole, 15):
        median = statistics.median(all[name])
        cells.append(f'{median:>{wide}.0f} {min(all[name]):>7.0f} {max(all[name]):>7.0f} {median / statistics.median(all[lines[0][0]]):>13.2f}')
    print(' '.join(cells))
PY
steps() { # steps IMAGE...: the commands to compare
	local n=0 all= pulls= ctr= podman= image
	for image; do
		n=$((n + 1))
		ref=$registry/$image:latest
		echo "  - {name: s$n, image: \"$ref\", commands: [\"echo line of step $n\"]}"
		all="$all && docker -H unix://$dir/docker.sock run --rm --network host $ref echo line of step $n"
		pulls="$pulls docker -H unix://$dir/docker.sock pull -q $ref &"
		ctr="$ctr && ctr -a $dir/containerd.sock image pull --plain-http $ref >/dev/null && ctr -a $dir/containerd.sock run --rm --net-host --seccomp $ref s$n echo line of step $n"
		podman="$podman && podman --root $dir/podman-\$n --runroot $dir/p\$n --runtime runc run --rm --tls-verify=false --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network host $ref echo line of step $n"
	done >"$dir/steps"
	{ echo steps: && cat "$dir/steps"; } >"$dir/pipeline.yml"
	for format in directories erofs; do
		printf 'stepexec, %s\texec %s run --layer-format %s --root %s/root-$(date +%%s%%N) %s/pipeline.yml\tsync\n' $format "$dir/stepexec" $format "$dir" "$dir"
	done
	if have containerd && have ctr; then printf 'ctr: pull, run, one after the other\ttrue%s\t%s/daemon.sh containerd\n' "$ctr" "$dir"; fi
	if have dockerd && have docker; then
		printf 'docker run, one after the other\ttrue%s\t%s/daemon.sh dockerd\n' "$all" "$dir"
		printf 'docker pull of all, docker run\t%s true%s; s=$?; wait; exit $s\t%s/daemon.sh dockerd\n' "$pulls" "$all" "$dir"
	fi
	if have podman; then printf 'podman run, one after the other\tn=$(date +%%s%%N); true%s\tsync\n' "$podman"; fi
}
if want pipeline; then
	go run ./fixtures/cmd/fixtures busybox "$dir/layout-busybox"
	"$dir/fixtures" push "$dir/layout-busybox" "$registry/busybox:latest"
	for order in "busybox medium-gzip many-gzip" "medium-gzip busybox many-gzip"; do
		echo "== three steps with an image each: $order"
		steps $order | python3 "$dir/pipeline.py" "$rounds"
	done
fi
for daemon in containerd containerd2 dockerd; do
	if [ -e "$dir/$daemon.peak" ]; then echo "$daemon: peak $(($(sort -n "$dir/$daemon.peak" | tail -n 1) / 1024)) MiB"; fi
done

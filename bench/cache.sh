#!/bin/bash
# Keyed caches in a registry on loopback, beside what scripts do: a folder of 500 MB in 20,000 files is
# restored and saved by a step, and by tar, zstd and curl. Needs root, Go,
# python3, zstd, curl, docker-registry and 3 GB of disk.
# usage: bench/cache.sh [ROUNDS]
set -eu -o pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
dir=/tmp/cache.$$
mkdir "$dir"
finish() {
	[ ! -e "$dir/registry.pid" ] || kill "$(cat "$dir/registry.pid")" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
registry=127.0.0.1:$((20000 + $$ % 10000))
go build -o "$dir/interleave" ./bench/interleave
bench/install.sh "$dir/stepexec"
go run ./fixtures/cmd/fixtures busybox "$dir/busybox"
printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "%s"}\n' \
	"$dir" "$registry" >"$dir/registry.yml"
docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 &
echo $! >"$dir/registry.pid"
until curl -fs "http://$registry/v2/" >/dev/null; do sleep 0.1; done

# The files: 25 kB each, half of it random and half of it text, 100 to a folder.
mkdir "$dir/ws"
python3 - "$dir/files" <<'PY'
import os, random, sys
random.seed(1)
words = [('word%d ' % n) for n in range(5000)]
for n in range(20000):
    folder = os.path.join(sys.argv[1], 'pkg%d' % (n // 2000), 'part%d' % (n // 100))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'file%d' % n), 'wb') as f:
        f.write(random.randbytes(12500))
        f.write(''.join(random.choices(words, k=1400))[:12500].encode())
PY
tar -C "$dir/files" -c . | zstd -q -1 -T0 >"$dir/blob"
mkdir "$dir/plain"
cp "$dir/blob" "$dir/plain/blob"
(cd "$dir/plain" && exec python3 -m http.server -b 127.0.0.1 $((${registry#*:} + 1)) >/dev/null 2>&1) &
echo $! >"$dir/http.pid"
trap 'kill "$(cat "$dir/http.pid")" 2>/dev/null || true; finish' EXIT
du -sh --apparent-size "$dir/files" "$dir/blob" | sed 's/^/# /'

# pipeline NAME MODE COMMAND
pipeline() {
	cat >"$dir/ws/$1.yml" <<YML
steps:
  - name: a
    image: oci:../busybox
    volumes: ["$dir/files:/files:ro"]
    cache: [{name: deps, path: /deps, key: {env: KEY}, mode: $2, store: $registry/ci/cache}]
    commands: ["$3"]
YML
}
pipeline fill write 'cp -a /files/. /deps/; echo $KEY > /deps/pkg0/key' # so that no content was saved before
pipeline restore read 'test -e /deps/pkg0'
export CI=
run="$dir/stepexec run --root $dir/root"
$run "$dir/ws/fill.yml" --env KEY=1 >/dev/null
"$dir/stepexec" cache ls --root "$dir/root" --store "$registry/ci/cache" | sed 's/^/# /'
"$dir/interleave" -n "$rounds" <<EOF
stepexec	$run $dir/ws/restore.yml --env KEY=1 >/dev/null
curl, zstd, tar	curl -fs http://127.0.0.1:$((${registry#*:} + 1))/blob | zstd -q -d | tar -C $dir/into -x	rm -rf $dir/into; mkdir $dir/into
EOF
cat >"$dir/save.sh" <<'SH'
set -eu
rm -rf "$dir/copy"
cp -a "$dir/files" "$dir/copy"
tar -C "$dir/copy" -c . | zstd -q -1 -T0 | tee "$dir/saved" | sha256sum >"$dir/sum"
to=$(curl -fsX POST -o /dev/null -w '%header{location}' "http://$registry/v2/plain/blobs/uploads/")
curl -fsT "$dir/saved" "$to&digest=sha256:$(cut -c-64 "$dir/sum")"
SH
export dir registry
"$dir/interleave" -n "$rounds" <<EOF
stepexec: copied, saved	$run $dir/ws/fill.yml --env KEY=\$RANDOM\$RANDOM >/dev/null
cp, tar, zstd, curl	bash $dir/save.sh
EOF

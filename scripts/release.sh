#!/bin/bash
# Makes a release in out/release: for each machine a stripped program, built twice and compared, the
# list of its components, its archive with man pages and completions, its packages; and SHA256SUMS.
# All times in it are that of the commit, so that the same commit gives the same bytes.
# usage: scripts/release.sh [VERSION [MACHINE...]]; VERSION is that of `git describe` otherwise
set -eu -o pipefail
cd "$(dirname "$0")/.."
version=${1:-$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo 0.1.0-dev+"$(git rev-parse --short HEAD)")}
version=${version#v}
shift || true
[ $# -gt 0 ] || set -- amd64 arm64 386 arm riscv64 ppc64le
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CGO_ENABLED=0 GOOS=linux GOFLAGS=-trimpath TZ=UTC LC_ALL=C
out=$PWD/out/release
work=$out/work
umask 022
rm -rf "$out"
mkdir -p "$work"

host() { GOARCH=$(go env GOHOSTARCH) "$@"; }
tool() { (cd packaging/tools && host go build -o "$work/$1" "$2"); }
build() { GOARCH=$1 GOARM=7 go build -ldflags "-s -w -X main.version=$version" -o "$2" ./cmd/stepexec; }
archive() { # archive NAME FOLDER: a .tar.gz of a folder, the same each time
	tar -C "$2" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
		--transform "s,^\.,$1," -cf - . | gzip -n -9 >"$out/$1.tar.gz"
}

components() { # components MACHINE PROGRAM FILE: the modules in a program; all are in the module cache by then
	GOARCH=$1 GOPROXY=off "$work/cyclonedx-gomod" bin -json -std -licenses -noserial -version "v$version" \
		-output "$3" "$2" 2>"$work/said" || { cat "$work/said" >&2; return 1; }
	sed -i "s/\"timestamp\": \".*\"/\"timestamp\": \"$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)\"/" "$3"
}

tool nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm
tool cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
mkdir -p "$work/common/man" "$work/common/systemd" "$work/common/completion"
host go test ./cmd/stepexec -run '^TestManPages$' -count=1 -args -man="$work/common/man" >/dev/null
for unit in contrib/*.service; do
	sed 's,/usr/local/bin/,/usr/bin/,' "$unit" >"$work/common/systemd/$(basename "$unit")"
done
GOARCH=$(go env GOHOSTARCH) build "$(go env GOHOSTARCH)" "$work/stepexec"
"$work/stepexec" completion bash >"$work/common/completion/stepexec.bash"
"$work/stepexec" completion zsh >"$work/common/completion/_stepexec"
"$work/stepexec" completion fish >"$work/common/completion/stepexec.fish"

for machine; do
	folder=$work/$machine
	mkdir "$folder"
	cp -r "$work/common/." "$folder"
	cp LICENSE README.md CHANGELOG.md "$folder"
	build "$machine" "$folder/stepexec"
	# The second build has its own cache of what it compiled, so that it compiles stepexec's packages anew.
	GOCACHE=$work/cache build "$machine" "$work/again"
	cmp "$folder/stepexec" "$work/again" || { echo "two builds for $machine differ" >&2; exit 1; }
	chmod -R u=rwX,go=rX "$folder"
	archive "stepexec-$version-linux-$machine" "$folder"
	components "$machine" "$folder/stepexec" "$out/stepexec-$version-linux-$machine.cdx.json"
	# nfpm takes the times of folders, and an .apk's those of its scripts, from the files.
	find "$folder" packaging/*.sh -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
	for kind in deb rpm apk; do
		ARCH=${machine/%arm/arm7} VERSION=$version BUILD=$folder "$work/nfpm" package -f packaging/nfpm.yaml -p "$kind" -t "$out/" >/dev/null
	done
	echo "$machine: $(stat -c %s "$folder/stepexec") bytes"
done
rm -rf "$work"
(cd "$out" && sha256sum -- * >SHA256SUMS)
ls -l "$out"

#!/bin/sh
# Installs a release of stepexec: the program, its man pages and completions, below PREFIX
# (/usr/local). The archive's checksum is compared with the release's SHA256SUMS first.
# usage: sh install.sh VERSION, such as 1.2.3
# STEPEXEC_RELEASES: address, or folder, with the files of that release, in place of GitHub's.
set -eu

version=${1:-}
version=${version#v}
[ -n "$version" ] || { echo "usage: sh install.sh VERSION, such as 1.2.3" >&2; exit 2; }
prefix=${PREFIX:-/usr/local}
from=${STEPEXEC_RELEASES:-https://github.com/stepexec/stepexec/releases/download/v$version}

[ "$(uname -s)" = Linux ] || { echo "install.sh: stepexec needs Linux, this is $(uname -s)" >&2; exit 1; }
case $(uname -m) in
x86_64) machine=amd64 ;;
aarch64) machine=arm64 ;;
armv7* | armv8l) machine=arm ;;
i?86) machine=386 ;;
riscv64 | ppc64le) machine=$(uname -m) ;;
*) echo "install.sh: there is no release for $(uname -m) (build it: go install github.com/stepexec/stepexec/cmd/stepexec@latest)" >&2; exit 1 ;;
esac
name=stepexec-$version-linux-$machine

fetch() { # fetch NAME: into the working directory
	case $from in
	http://* | https://*)
		if command -v curl >/dev/null; then
			curl -fsSL --retry 3 -o "$1" "$from/$1"
		elif command -v wget >/dev/null; then
			wget -q -O "$1" "$from/$1"
		else
			echo "install.sh: neither curl nor wget is installed" >&2
			return 1
		fi ;;
	*) cp "$from/$1" "$1" ;;
	esac || { echo "install.sh: cannot fetch $from/$1" >&2; return 1; }
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $from in http://* | https://* | /*) ;; *) from=$PWD/$from ;; esac
cd "$work"
fetch SHA256SUMS
fetch "$name.tar.gz"
grep " [ *]*$name\\.tar\\.gz\$" SHA256SUMS >wanted || { echo "install.sh: SHA256SUMS does not have $name.tar.gz" >&2; exit 1; }
sha256sum -c wanted >/dev/null || { echo "install.sh: the checksum of $name.tar.gz is wrong: nothing is installed" >&2; exit 1; }

tar -xzf "$name.tar.gz"
mkdir -p "$prefix/bin" "$prefix/share/man/man1" "$prefix/share/bash-completion/completions" "$prefix/share/zsh/site-functions" "$prefix/share/fish/vendor_completions.d"
cp "$name"/man/*.1 "$prefix/share/man/man1/"
cp "$name/completion/stepexec.bash" "$prefix/share/bash-completion/completions/stepexec"
cp "$name/completion/_stepexec" "$prefix/share/zsh/site-functions/_stepexec"
cp "$name/completion/stepexec.fish" "$prefix/share/fish/vendor_completions.d/stepexec.fish"
cp "$name/stepexec" "$prefix/bin/stepexec.new"
chmod 0755 "$prefix/bin/stepexec.new"
mv "$prefix/bin/stepexec.new" "$prefix/bin/stepexec" # runs that go on keep the old one
"$prefix/bin/stepexec" version
command -v runc >/dev/null || command -v crun >/dev/null || echo "stepexec also needs an OCI runtime, such as the package runc: see stepexec doctor"

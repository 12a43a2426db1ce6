#!/bin/sh
# Installs a release by install.sh from its folder, and looks that a wrong checksum is refused.
# usage: packaging/test-install.sh out/release
set -eu
release=$(realpath "$1")
cd "$(dirname "$0")/.."
version=$(basename "$release"/stepexec-*-linux-amd64.tar.gz -linux-amd64.tar.gz)
version=${version#stepexec-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PREFIX=$work/usr STEPEXEC_RELEASES=$release sh install.sh "v$version" | grep -F "$version"
[ -e "$work/usr/share/man/man1/stepexec-run.1" ]
mkdir "$work/bad"
cp "$release"/SHA256SUMS "$release"/*-linux-amd64.tar.gz "$work/bad"
echo x >>"$(ls "$work"/bad/*.tar.gz)"
if PREFIX=$work/none STEPEXEC_RELEASES=$work/bad sh install.sh "$version" 2>"$work/said"; then exit 1; fi
grep -q "the checksum of .* is wrong: nothing is installed" "$work/said"
[ ! -e "$work/none" ]
echo installed, and a wrong checksum refused

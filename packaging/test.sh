#!/bin/bash
# Installs, upgrades and removes the packages of two releases, in fresh Debian containers (.deb, .rpm)
# and in one with busybox alone (.apk), and looks at what is left. stepexec itself runs the
# containers. Needs root and debootstrap.
# usage: packaging/test.sh OLD NEW: folders that scripts/release.sh has filled, for this machine at least
set -eu -o pipefail
old=$(realpath "$1") new=$(realpath "$2")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
machine=$(go env GOHOSTARCH)
go build -o "$work/stepexec" ./cmd/stepexec
go run ./fixtures/cmd/fixtures busybox "$work/busybox"
debootstrap --variant=minbase --include=systemd,rpm bookworm "$work/debian" >"$work/log" || { tail "$work/log"; exit 1; }

inside() { # inside IMAGE SCRIPT: runs a script of sh in a container that has both releases
	"$work/stepexec" step --root "$work/root" --network none --mount "type=bind,src=$old,dst=/old,ro" \
		--mount "type=bind,src=$new,dst=/new,ro" --mount "type=bind,src=$work,dst=/work,ro" --env "machine=$machine" \
		"$1" sh -euc "$2"
}
# What every package has to do, whatever installs it.
checks='
	quietly() { "$@" >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }; }
	installed() {
		stepexec version
		getent passwd stepexec | grep -q nologin
		[ "$(stat -c %a:%U /var/lib/stepexec /var/lib/stepexec-user | tr "\n" " ")" = "700:root 700:stepexec " ]
		systemd-analyze verify /usr/lib/systemd/system/stepexec-runner-*.service
		cmp /usr/bin/stepexec "$1"
	}
	removed() {
		for file in /usr/bin/stepexec /usr/share/man/man1/stepexec.1 /usr/lib/tmpfiles.d/stepexec.conf; do
			[ ! -e "$file" ] || { echo "$file is left"; exit 1; }
		done
		[ -d /var/lib/stepexec/store ]
	}'
for release in old new; do
	mkdir "$work/$release"
	tar -xzf "${!release}"/stepexec-*-linux-"$machine".tar.gz -C "$work/$release" --strip-components=1
done

inside "rootfs:$work/debian" "$checks"'
	packages() { quietly dpkg --force-depends "$@"; }
	packages -i /old/*_$machine.deb
	installed /work/old/stepexec
	[ "$(dpkg --verify stepexec)" = "" ]
	echo "# mine" >>/etc/stepexec/settings.yml
	mkdir -p /var/lib/stepexec/store

	packages -i --force-confold /new/*_$machine.deb
	installed /work/new/stepexec
	grep -q "# mine" /etc/stepexec/settings.yml
	[ "$(dpkg --verify stepexec)" = "??5?????? c /etc/stepexec/settings.yml" ]

	packages -r stepexec
	removed
	[ -e /etc/stepexec/settings.yml ]

	packages -P stepexec
	[ ! -e /etc/stepexec ]
	[ ! -e /var/lib/stepexec ]
	if dpkg -s stepexec 2>/dev/null; then exit 1; fi
	echo deb: installed, upgraded, removed, purged
'

inside "rootfs:$work/debian" "$checks"'
	packages() { quietly rpm --nodeps "$@"; }
	rpm=$(uname -m).rpm
	packages -i /old/*.$rpm
	installed /work/old/stepexec
	[ "$(rpm -V --nodeps stepexec)" = "" ]
	echo "# mine" >>/etc/stepexec/settings.yml
	mkdir -p /var/lib/stepexec/store

	packages -U /new/*.$rpm
	installed /work/new/stepexec
	grep -q "# mine" /etc/stepexec/settings.yml
	[ "$(rpm -V --nodeps stepexec)" = "S.5....T.  c /etc/stepexec/settings.yml" ]

	packages -e stepexec
	removed
	grep -q "# mine" /etc/stepexec/settings.yml.rpmsave
	echo rpm: installed, upgraded, removed
'

# Debian has no apk: its archive is unpacked as apk does it, and its scripts run by busybox, without systemd.
inside "oci:$work/busybox" '
	tar -xzf /old/*_$(uname -m).apk -C /
	sh /.post-install 1.2.3
	stepexec version
	cmp /usr/bin/stepexec /work/old/stepexec
	[ -e /etc/stepexec/settings.yml ]
	[ -e /etc/stepexec/policy-runner.yml ]
	grep -q "^depend = runc" /.PKGINFO
	mkdir -p /var/lib/stepexec/store
	tar -xzf /new/*_$(uname -m).apk -C /
	cmp /usr/bin/stepexec /work/new/stepexec
	sh /.pre-deinstall 1.2.3
	sh /.post-deinstall 1.2.3
	[ -d /var/lib/stepexec/store ]
	echo apk: unpacked, and its scripts run
'

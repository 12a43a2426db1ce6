#!/bin/sh
# Installs a .deb in a fresh Debian container, upgrades, removes and purges it, and looks at what
# is left. stepexec itself runs the container. Needs root; two packages made by scripts/release.sh.
# usage: packaging/test.sh OLD.deb NEW.deb
set -eu
old=$(realpath "$1") new=$(realpath "$2")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go run ./fixtures/cmd/fixtures debian "$work/debian"
go run ./cmd/stepexec step --root "$work/root" --network none \
	--mount "type=bind,src=$old,dst=/old.deb,ro" --mount "type=bind,src=$new,dst=/new.deb,ro" \
	"oci:$work/debian" sh -euc '
	packages() { dpkg --force-depends "$@" >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }; }
	packages -i /old.deb
	[ "$(dpkg --verify stepexec)" = "" ]
	stepexec version
	[ -e /usr/lib/sysusers.d/stepexec.conf ] && [ -e /usr/lib/tmpfiles.d/stepexec.conf ]
	if command -v systemd-sysusers >/dev/null; then
		getent passwd stepexec | grep -q nologin
		[ "$(stat -c %a:%U /var/lib/stepexec /var/lib/stepexec-user | tr "\n" " ")" = "700:root 700:stepexec " ]
	fi
	echo "# mine" >>/etc/stepexec/settings.yml
	mkdir -p /var/lib/stepexec/store

	packages -i --force-confold /new.deb
	stepexec version
	grep -q "# mine" /etc/stepexec/settings.yml
	dpkg --verify stepexec | grep -v /etc/stepexec/settings.yml && exit 1

	packages -r stepexec
	[ ! -e /usr/bin/stepexec ]
	[ -e /etc/stepexec/settings.yml ]
	[ -d /var/lib/stepexec/store ]

	packages -P stepexec
	[ ! -e /etc/stepexec ]
	[ ! -e /var/lib/stepexec ]
	[ ! -e /usr/lib/tmpfiles.d/stepexec.conf ]
	! dpkg -s stepexec 2>/dev/null
	echo installed, upgraded, removed, purged
'

#!/bin/sh
# Before the package is removed: runners stop, and what a killed run left is cleared away.
# An upgrade changes nothing that runs. $1 is "remove" from dpkg, 0 from rpm, the version from apk.
set -eu
case ${1:-} in
upgrade | failed-upgrade | deconfigure | [1-9]) [ -e /sbin/apk ] || exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	for unit in stepexec-runner-drone stepexec-runner-woodpecker; do
		systemctl disable --now "$unit.service" || :
	done
fi
if [ -d /var/lib/stepexec ]; then stepexec gc || :; fi

#!/bin/sh
# Before the package is removed: runners stop, and what a killed run left is cleared away.
# An upgrade changes nothing that runs. For a removal, $1 is "remove" from dpkg, 0 from rpm and a
# version such as 1.2.3 from apk; rpm passes 1 or more for an upgrade, and apk does not run this script.
set -eu
case ${1:-} in
upgrade | failed-upgrade | deconfigure | [1-9]) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	for unit in stepexec-runner-drone stepexec-runner-woodpecker; do
		systemctl disable --now "$unit.service" || :
	done
fi
if [ -d /var/lib/stepexec ]; then stepexec gc || :; fi

#!/bin/sh
# After a purge nothing is left but the user: images, records and caches go too. A removal keeps them.
set -eu
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
[ "${1:-}" = purge ] || exit 0
rm -rf --one-file-system /var/lib/stepexec /var/lib/stepexec-user

#!/bin/sh
# alice.sh GROUP COMMAND...: as the user alice, in a cgroup.
echo $$ >"/sys/fs/cgroup/$1/cgroup.procs" || exit 1
shift
exec su -c 'exec "$0" "$@"' -- alice "$@"

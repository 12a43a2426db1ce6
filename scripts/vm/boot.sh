#!/bin/sh
# Process 1 of the guest: sets the machine up as systemd would one with cgroup
# v2 alone, and runs the tests. What it prints goes to the second serial line;
# the first is the kernel's.
mount -t devtmpfs dev /dev
exec >/dev/ttyS1 2>&1 </dev/null
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs security /sys/kernel/security
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
for module in overlay libcrc32c erofs; do
	insmod /modules/$module.ko
done
ifconfig lo 127.0.0.1 up

mount -t cgroup2 -o nsdelegate cgroup /sys/fs/cgroup
mkdir /sys/fs/cgroup/init
echo $$ >/sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
	echo +"$controller" >/sys/fs/cgroup/cgroup.subtree_control
done

echo "vm: Linux $(uname -r), cgroup v2 with $(cat /sys/fs/cgroup/cgroup.controllers)"
cd /tests && sh ./run.sh
echo "vm: done after $(cut -d. -f1 /proc/uptime) s"
poweroff -f

#!/bin/sh
# Installs from Debian's packages what this machine lacks to run and test
# stepexec. Does nothing when all of it is there.
set -eu

missing=
need() { # need PACKAGE FILE...: the package is there when its files are
	package=$1
	shift
	for file; do
		[ -e "$file" ] || { missing="$missing $package"; return 0; }
	done
}

need runc /usr/sbin/runc
need busybox-static /usr/share/doc/busybox-static
need docker-registry /usr/bin/docker-registry
need debootstrap /usr/sbin/debootstrap
need umoci /usr/bin/umoci
need skopeo /usr/bin/skopeo # folders of images
need buildah /usr/bin/buildah
need skopeo /usr/bin/skopeo
need containerd /usr/bin/containerd /usr/bin/ctr
need containernetworking-plugins /usr/lib/cni/bridge
need iptables /usr/sbin/iptables
need iproute2 /usr/sbin/ip
need uidmap /usr/bin/newuidmap
need passt /usr/bin/pasta
need slirp4netns /usr/bin/slirp4netns
need protobuf-compiler /usr/bin/protoc # go generate
need git /usr/bin/git
need curl /usr/bin/curl # a client of stepexec ui
need tmux /usr/bin/tmux # a terminal, for the live view
need gcc /usr/bin/gcc # the race detector
need libc6-dev /usr/include/stdlib.h
# The virtual machine that some tests run in (scripts/vm).
need qemu-system-x86 /usr/bin/qemu-system-x86_64
need crun /usr/bin/crun
need apparmor /sbin/apparmor_parser
need cpio /usr/bin/cpio
need xz-utils /usr/bin/unxz
need e2fsprogs /usr/sbin/mkfs.ext4
# The browser that HTML reports are tested in.
need chromium /usr/bin/chromium
need chromium-driver /usr/bin/chromedriver
need fonts-dejavu-core /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "missing packages, to be installed as root: apt-get install$missing" >&2
	exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
options="-q -o DPkg::Lock::Timeout=300"
# shellcheck disable=SC2086
{
	apt-get $options update
	apt-get $options install -y --no-install-recommends $missing
} >/tmp/stepexec-apt.log 2>&1 || { cat /tmp/stepexec-apt.log >&2; exit 1; }

#!/bin/bash
# Puts Debian's kernel 6.12 for virtual machines below DIR, where it stays:
# vmlinuz, and the modules that init.sh and boot.sh load. Prints the folder.
#   fetch-kernel.sh DIR
set -euo pipefail

mkdir -p "$1"
cd "$1"
# The package's name holds the full version, which moves on. From Debian 13 on,
# the plain cloud kernel is 6.12 or newer.
for name in linux-image-6.12-cloud-amd64 linux-image-cloud-amd64; do
	package=$(apt-cache depends "$name" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
	[ -z "$package" ] || break
done
[ -n "$package" ] || { echo "fetch-kernel: no kernel among apt's packages: apt-get update" >&2; exit 1; }

if [ ! -e "$package" ]; then
	rm -rf new
	mkdir new
	download() { (cd new && apt-get -q download -o APT::Sandbox::User=root "$package"); }
	{ download || { apt-get -q update && download; }; } >&2 # old lists name files that are gone
	dpkg-deb --fsys-tarfile new/*.deb | tar -x -C new --transform 's,.*/,,' --wildcards \
		'./boot/vmlinuz-*' '*/virtio_blk.ko*' '*/overlay.ko*' '*/libcrc32c.ko*' '*/erofs.ko*'
	unxz new/*.ko.xz
	mv new/vmlinuz-* new/vmlinuz
	rm new/*.deb
	mv new "$package"
fi
echo "$PWD/$package"

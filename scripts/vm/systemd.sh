#!/bin/bash
# Tries the systemd cgroup driver in a virtual machine that systemd has booted:
# Debian's root, made once by debootstrap (a minute), with the kernel of test.sh.
# It is no part of make test: with the root it takes some three minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "systemd: debootstrap needs root" >&2; exit 1; }
mkdir -p out
kernel=$(scripts/vm/fetch-kernel.sh out/kernel)
root=out/systemd-root
vm=$(mktemp -d "$PWD/out/vm.XXXXXX")
trap 'rm -rf "$vm"' EXIT

if [ ! -e "$root" ]; then
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 'Component: main' | head -n 1)
	rm -rf "$root.new"
	debootstrap --variant=minbase --include=systemd-sysv,dbus,runc,kmod bookworm "$root.new" "${mirror:-http://deb.debian.org/debian}" >out/debootstrap.log
	for unit in systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service systemd-journal-flush.service \
		systemd-logind.service getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer; do
		ln -sf /dev/null "$root.new/etc/systemd/system/$unit" # slow to emulate, and of no use here
	done
	mv "$root.new" "$root"
fi

mkdir -p "$root/tests"
go build -ldflags '-s -w' -o "$root/tests/" ./cmd/stepexec
go test -c -ldflags '-s -w' -o "$root/tests/" ./sandbox
rm -rf "$root/tests/image"
go run ./fixtures/cmd/fixtures busybox "$root/tests/image"
cp /bin/busybox "$root/bin/busybox"
cp "$kernel/overlay.ko" scripts/vm/systemd-run.sh "$root/tests"
cat >"$root/etc/systemd/system/tests.service" <<'end'
[Unit]
Wants=dbus.service
After=dbus.service
[Service]
Type=oneshot
WorkingDirectory=/tests
Environment=HOME=/root
ExecStart=/bin/bash systemd-run.sh
ExecStopPost=/bin/systemctl poweroff -ff
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
end
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../tests.service "$root/etc/systemd/system/multi-user.target.wants/tests.service"

mkdir -p "$vm"/initrd/{bin,dev,disk}
cp /bin/busybox "$vm/initrd/bin"
/bin/busybox --list | grep -vx busybox | while read -r applet; do ln -s busybox "$vm/initrd/bin/$applet"; done
cp "$kernel/virtio_blk.ko" "$vm/initrd"
sed 's,/boot.sh,/sbin/init,' scripts/vm/init.sh >"$vm/initrd/init"
chmod +x "$vm/initrd/init"
(cd "$vm/initrd" && find . | cpio --quiet -o -H newc | gzip -1) >"$vm/initrd.gz"
truncate -s 2G "$vm/disk"
mkfs.ext4 -q -d "$root" "$vm/disk"
timeout "${VM_TIMEOUT:-600}" qemu-system-x86_64 -accel tcg -cpu max -M q35 -smp 1 -m 1024 \
	-nodefaults -display none -no-reboot -serial "file:$vm/console.log" -serial "file:$vm/tests.log" \
	-drive "file=$vm/disk,if=virtio,format=raw,cache=unsafe" \
	-kernel "$kernel/vmlinuz" -initrd "$vm/initrd.gz" -append 'console=ttyS0 panic=-1 quiet' </dev/null || echo "vm: qemu ended with status $?"
sed -i "s/\\r$//" "$vm/tests.log"
cat "$vm/tests.log"
grep -qx 'vm: all passed' "$vm/tests.log" || { cat "$vm/console.log"; echo "vm: FAILED: the guest did not say that all passed"; exit 1; }

#!/bin/bash
# Runs tests in a virtual machine: Linux 6.12, the oldest that mounts EROFS
# images from files, with cgroup v2 alone and all of its controllers. It needs
# no KVM. Prints what the tests print, and fails unless the guest says that all
# passed; a guest that dies fails too.
#   test.sh [FILE]    FILE is what the guest runs instead of run.sh
set -euo pipefail
run=$(realpath "${1:-$(dirname "$0")/run.sh}")
cd "$(dirname "$0")/../.."
[ "$(uname -m)" = x86_64 ] || { echo "vm: made for x86_64 alone" >&2; exit 1; }
mkdir -p out
kernel=$(scripts/vm/fetch-kernel.sh out/kernel)
vm=$(mktemp -d "$PWD/out/vm.XXXXXX")
trap 'rm -rf "$vm"' EXIT

add_busybox() { # add_busybox DIR: the program and a link for every applet
	mkdir -p "$1/bin"
	cp /bin/busybox "$1/bin/busybox"
	/bin/busybox --list | grep -vx busybox | while read -r applet; do ln -s busybox "$1/bin/$applet"; done
}

add_libraries() { # add_libraries DIR PROGRAM: those that it is linked to
	for file in $(ldd "$2" 2>&1 | grep -oE '/[^ ]+'); do
		mkdir -p "$1/$(dirname "$file")"
		cp -L "$file" "$1/$file"
	done
}

make_initrd() { # what mounts the disk
	mkdir -p "$vm"/initrd/{dev,disk}
	add_busybox "$vm/initrd"
	cp "$kernel/virtio_blk.ko" "$vm/initrd"
	install scripts/vm/init.sh "$vm/initrd/init"
	(cd "$vm/initrd" && find . | cpio --quiet -o -H newc | gzip -1) >"$vm/initrd.gz"
}

make_root() { # what is on the disk
	root=$vm/root
	mkdir -p "$vm/bin" "$root"/{etc,proc,sys,dev,tmp,run,root,modules,tests}
	add_busybox "$root"
	for program in runc crun newuidmap newgidmap apparmor_parser; do
		program=$(PATH=$PATH:/sbin command -v "$program")
		add_libraries "$root" "$program"
		cp --preserve=mode "$program" "$root/bin" # setuid root, some
	done
	mkdir -p "$root/home/alice"
	chown 1000 "$root/home/alice"
	chmod 1777 "$root/tmp"
	printf '%s\n' root:x:0:0::/root:/bin/sh alice:x:1000:1000::/home/alice:/bin/sh >"$root/etc/passwd"
	printf '%s\n' root:x:0: alice:x:1000: >"$root/etc/group"
	echo alice:100000:65536 | tee "$root/etc/subuid" >"$root/etc/subgid"
	cp "$kernel"/*.ko "$root/modules"
	install scripts/vm/boot.sh "$root/boot.sh"
	cp "$run" "$root/tests/run.sh"
	cp scripts/vm/alice.sh "$root/tests"
	# Without the race detector: the guest's CPU is ten times slower as it is.
	go build -ldflags '-s -w' -o "$vm/bin/" ./cmd/stepexec
	go test -c -ldflags '-s -w' -o "$vm/bin/" ./sandbox ./unpack/erofs
	for program in "$vm"/bin/*; do
		add_libraries "$root" "$program"
	done
	cp "$vm"/bin/* "$root/tests"
	go run ./fixtures/cmd/fixtures busybox "$root/tests/image"
	chmod -R a+rX "$root/tests"
}

# boot runs the guest to its end; what the tests print is in tests.log. One CPU:
# with two, each emulated by a thread, one may still run the breakpoint that the
# other has put into the kernel's code and taken away again, as the kernel does when
# the first limit of CPU time is set, and the guest oopses.
boot() {
	rm -f "$vm/disk"
	truncate -s 2G "$vm/disk"
	mkfs.ext4 -q -d "$vm/root" "$vm/disk"
	timeout "${VM_TIMEOUT:-400}" qemu-system-x86_64 -accel tcg -cpu max -M q35 -smp 1 -m 2048 \
		-nodefaults -display none -no-reboot -serial "file:$vm/console.log" -serial "file:$vm/tests.log" \
		-drive "file=$vm/disk,if=virtio,format=raw,cache=unsafe" \
		-kernel "$kernel/vmlinuz" -initrd "$vm/initrd.gz" -append 'console=ttyS0 panic=-1 quiet' </dev/null || echo "vm: qemu ended with status $?"
	sed -i 's/\r$//' "$vm/tests.log"
}

make_initrd
make_root
boot
if ! grep -qE '^ *--- |^vm: end' "$vm/tests.log"; then
	# An emulated kernel may die as it boots. A test that fails is never tried again.
	echo "vm: the guest died before any test ended; a second try"
	cat "$vm/console.log" "$vm/tests.log"
	boot
fi
cat "$vm/tests.log"
grep -qx 'vm: all passed' "$vm/tests.log" || { cat "$vm/console.log"; echo "vm: FAILED: the guest did not say that all passed"; exit 1; }

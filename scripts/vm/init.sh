#!/bin/sh
# Process 1 of the guest's initrd: mounts the disk and goes on from there,
# because no runtime can pivot_root out of an initrd.
mount -t devtmpfs dev /dev
insmod /virtio_blk.ko
mount -t ext4 /dev/vda /disk
exec switch_root /disk /boot.sh

// Package erofs writes EROFS images and mounts them from their files, without loop devices: a layer of a container
// image becomes one file, and the mount of that file becomes a lower directory of overlayfs.
//
// The way of the data goes forward only. The contents of files are appended as they come, each from a block of its
// own on; Finish puts inodes, directories, attributes and link targets after them and the superblock before them.
// So an image costs what one sequential write costs, and memory only for its metadata.
//
//	block 0                the superblock, at byte 1024; otherwise zeros
//	content                files, in the order of EndFile, each padded to a block
//	inodes                 breadth first, the root as the first one; with them their xattrs, and link
//	                       targets and directories that fit
//	directories, targets   those that did not fit, from a block of their own on
//
// Equal input gives equal images, byte by byte. Holes of sparse files are holes of the image's file.
//
// The format is that of the kernel's fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst. Of it the package
// uses what Linux 5.4 knew, but mounting from files needs Linux 6.12 (CONFIG_EROFS_FS_BACKED_BY_FILE).
//
// It is not for reading images, not for compressing them, and knows neither tars nor layers.
package erofs

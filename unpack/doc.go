// Package unpack turns the layer tars of an image into layer directories, or EROFS images, that
// overlayfs mounts. It keeps them in a content-addressed store that all images and all processes of
// a machine share.
//
// A layer is read in one pass: sha256 of the compressed stream, decompression, sha256 of the tar,
// files. Its directory gets its final name, the diffID, only when both digests and the size match,
// so a visible layer is a verified layer. Layers are unpacked in any order and in parallel, without
// knowledge of each other. Anything that a layer cannot know alone (the metadata of a directory it
// never declares, a hard link to a file in a lower layer) is noted and corrected in a small fix-up
// layer on top of the image's stack.
//
// The stages of that pass run concurrently, each in its own goroutine. A layer needs about 3 MiB of
// memory while it is unpacked, whatever its size, and at most 16 layers are unpacked at once: below
// 50 MiB in total. Added to that are the window of each zstd layer (usually 8 MiB, never more than
// 128 MiB) and the names and attributes that Limits.Memory bounds. A layer that becomes an EROFS
// image also needs about 300 bytes for each of its files.
//
// The files of a store:
//
//	layers/sha256/<diffID>/fs         the overlay lower directory
//	layers/sha256/<diffID>/fs.erofs   or, in place of it, an EROFS image of it: see Format
//	layers/sha256/<diffID>/recipe     the rest of the layer's tar: see Store.WriteTar
//	layers/sha256/<diffID>/layer.json what the layer leaves to the fix-up layer
//	layers/sha256/<diffID>/unsettled  present until the layer is known to be on disk: see Store.Settle
//	layers/sha256/<diffID>/size       bytes on disk, written when first asked for
//	fixups/<chainID>/...              the same for the fix-up layer of a stack of layers
//	images/<key>.json                 records of pulled images; the modification time is the time of last use
//	tmp/<key>, locks/<key>            work in progress, and the file lock of its owner
//
// Where unpackers differ, this package decides as follows. An entry whose path leads through a
// symbolic link of its own layer is unpacked where the link leads, inside the layer's root (like
// docker, podman and containerd). A directory hides a symbolic link of the same name in a lower
// layer (like docker and podman; containerd follows the link). Attempts to control overlayfs from
// inside a tar (0:0 devices, overlay xattrs) are refused or dropped. A hard link to a file of a
// lower layer shares its inode with that file, but not with the other names that the file has in
// its own layer: overlayfs does the same when it copies a file up.
//
// The package neither fetches layers (a Layer brings its own stream) nor mounts them.
package unpack

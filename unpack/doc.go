// Package unpack turns the layer tars of an image into layer directories, or EROFS images, that overlayfs mounts, and keeps
// them in a content-addressed store that all images and all processes of a machine share.
//
// A layer is read in one pass: sha256 of the compressed stream, decompression, sha256 of the tar, files. Its
// directory gets its final name, the diffID, only when both digests and the size match, so a layer that can be
// seen is a layer that was verified. Layers do not know of each other while they are unpacked, in any order and
// in parallel; what one cannot know alone (the metadata of a directory it never declares, a hard link to a file
// below it) is noted and put right in a small fix-up layer on top of the image's stack.
//
// The stages of that pass work at the same time, each one in a goroutine of its own. A layer holds about 3 MiB
// meanwhile, whatever its size, and at most 16 layers are unpacked at once: below 50 MiB. On top of that come the window
// that a zstd layer asks for, 8 MiB as a rule and never more than 128 MiB, and the names and attributes that
// Limits.Memory bounds. A layer that becomes an EROFS image also holds some 300 bytes for each of its files.
//
// The files of a store:
//
//	layers/sha256/<diffID>/fs         the overlay lower directory
//	layers/sha256/<diffID>/fs.erofs   or, in place of it, an EROFS image of it: see Format
//	layers/sha256/<diffID>/recipe     what else the layer's tar had: see Store.WriteTar
//	layers/sha256/<diffID>/layer.json what the layer leaves to the fix-up layer
//	layers/sha256/<diffID>/unsettled  there until the layer is known to be on disk: see Store.Settle
//	layers/sha256/<diffID>/size       bytes on disk, once somebody asked
//	fixups/<chainID>/...              the same for the fix-up layer of a stack of layers
//	images/<key>.json                 the records of pulled images; their times of change are those of the last use
//	tmp/<key>, locks/<key>            work in progress and the file lock of who does it
//
// Decisions where other unpackers differ: an entry whose path leads through a symbolic link of its own layer
// is unpacked where the link leads, inside the layer's root (docker, podman, containerd). A directory hides a
// symbolic link of the same name in a lower layer (docker, podman; containerd follows the link). Control of
// overlayfs from inside a tar (0:0 devices, overlay xattrs) is refused or dropped. A hard link to a lower file
// shares its inode with that file, but not with other names that the file has in its own layer: overlayfs does
// the same with a file that it copies up.
//
// The package neither fetches (a Layer brings its own stream) nor mounts.
package unpack

// Package pull turns an image reference into a verified manifest, the image's
// parsed configuration and one stream for each layer.
//
// Images come from a registry, an OCI image layout (a folder or a tar archive),
// a folder written by skopeo, an archive written by `docker save`, docker's daemon or the
// storage of podman and buildah; [ParseReference] says how each is written. The last two are
// asked for an archive, which is read from a temporary file. The tests of docker's daemon
// talk to a stand-in that answers as its API does. Every source is reduced to the same few steps: name the roots,
// choose the platform, read and verify the manifest and the configuration,
// list the layers.
//
// A registry may have mirrors in front of it ([Registries]); requests that fail for
// the moment are made again, and interrupted layers resumed where they stopped. [Head]
// tells with one request whether a tag is still what it was.
//
// A large layer whose connection is slower than its reader comes in parts, several at
// once and handed out in order ([Ranges]). Beside that, layers are not held in memory.
// The parts of an image take at most 32 MiB: 2 layers of 4 parts of 4 MiB.
//
// Documents (indexes, manifests, configurations) are verified here: digest,
// size and form. Layer streams are handed out as they are stored; the consumer
// compares them with [Layer.Digest] and [Layer.DiffID] while it reads.
//
// The package does not unpack or store anything.
package pull

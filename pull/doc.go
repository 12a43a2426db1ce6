// Package pull turns an image reference into a verified manifest, the image's parsed configuration
// and one stream for each layer.
//
// Images come from a registry, an OCI image layout (a folder or a tar archive), a folder written by
// skopeo, an archive written by `docker save`, docker's daemon, or the storage of podman and
// buildah; [ParseReference] describes the forms of a reference. The package asks the last two for
// an archive and reads that from a temporary file. The tests of docker's daemon use a stand-in that
// implements its API. Every source goes through the same steps: name the roots, choose the
// platform, read and verify the manifest and the configuration, list the layers.
//
// A registry may have mirrors in front of it ([Registries]). Requests with transient failures are
// repeated, and interrupted layers are resumed where they stopped. [Head] checks with one request
// whether a tag has changed.
//
// A large layer whose connection is slower than its reader is fetched in parts, several at once,
// and delivered in order ([Ranges]). Apart from those parts, layers are not held in memory. The
// parts of an image take at most 32 MiB: 2 layers of 4 parts of 4 MiB.
//
// This package verifies documents (indexes, manifests, configurations): digest, size and form. It
// returns layer streams as they are stored; the consumer compares them with [Layer.Digest] and
// [Layer.DiffID] while reading.
//
// The package does not unpack or store anything.
package pull

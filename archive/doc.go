// Package archive writes images of a layer store as one tar file: an OCI image layout (image-spec,
// image-layout.md) that also has the files that `docker load` needs.
//
// The uncompressed layers have exactly the bytes that were pulled, so the configuration, the
// diffIDs and docker's image ID are the same. The layers are compressed again, so the digests of
// the compressed layers and of the manifest may differ from the registry's.
//
// Package pull reads archives.
package archive

// Package archive writes images of a layer store as one tar file, an OCI image layout
// (image-spec, image-layout.md) that also has what `docker load` looks for.
//
// The layers have the bytes that were pulled, uncompressed: configuration and diffIDs are the same,
// and so is what docker calls the image's id. They are compressed anew, so the digests of the
// compressed layers and of the manifest may be others than the registry's.
//
// It is not for reading archives: see package pull.
package archive

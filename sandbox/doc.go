// Package sandbox runs one step in one container: it mounts the image's
// lowerdirs as an overlay, builds the OCI runtime spec, drives an OCI runtime
// (runc or anything with its command line) through create, start and delete,
// waits on the container's init process and removes everything again.
//
// The life of a sandbox is Prepare, Start, Wait, Remove. Prepare may run long
// before the step's turn, so that the turn itself costs one `runc start`, or
// less where stepexec does that by itself (direct.go).
//
// It is not for: pipelines, images or layers (it gets directories), nor for
// reading what a step prints (it is handed the files to write to).
package sandbox

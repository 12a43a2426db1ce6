// Package sandbox runs one step in one container. It mounts the image's lowerdirs as an overlay,
// builds the OCI runtime spec, drives an OCI runtime (runc or anything with its command line)
// through create, start and delete, waits for the container's init process, and removes everything
// again.
//
// The life of a sandbox is Prepare, Start, Wait, Remove. Prepare may run long before the step's
// turn, so that the turn itself costs only one `runc start`, or less where stepexec starts the
// container itself (direct.go).
//
// Pipelines, images, layers and the output of steps are the business of other packages: this one
// gets directories to mount and files to write to.
package sandbox

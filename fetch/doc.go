// Package fetch leads from an image reference to layers in the store: it
// resolves the reference, asks a registry when the policy or a missing layer
// requires it, unpacks what is missing, and obeys the lock file.
//
// It knows nothing of pipelines, steps or containers.
package fetch

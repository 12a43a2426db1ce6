package container

// PullPolicy says when a registry is asked for an image.
type PullPolicy string

// The pull policies. The empty one leaves the choice to whoever runs the step.
const (
	PullAlways  PullPolicy = "always"  // ask each time whether the tag has moved
	PullMissing PullPolicy = "missing" // ask only for an image that is not in the store
	PullNever   PullPolicy = "never"   // fail when the image is not in the store
)

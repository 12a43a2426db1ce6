package fetch

// Policy says when a registry is asked for an image.
type Policy string

// The pull policies. The empty one means Fetcher.Unsaid.
const (
	Always  Policy = "always"  // ask each time whether the tag has moved
	Missing Policy = "missing" // ask only for an image that is not in the store
	Never   Policy = "never"   // fail when the image is not in the store
)

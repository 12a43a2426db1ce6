package s3

import "github.com/stepexec/stepexec/cache"

// SetPartSize has a depot of this package store what is larger than bytes in parts of that size.
func SetPartSize(d cache.Depot, bytes int64) { d.(*bucket).partSize = bytes }

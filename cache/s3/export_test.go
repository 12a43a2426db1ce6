package s3

import "github.com/stepexec/stepexec/cache"

// SetParts has a depot of this package store what is larger than size bytes in parts of that size,
// or in most parts.
func SetParts(d cache.Depot, size, most int64) {
	b := d.(*bucket)
	b.partSize, b.maxParts = size, most
}

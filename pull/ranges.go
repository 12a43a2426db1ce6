package pull

import (
	"cmp"
	"math"
	"time"
)

// Ranges say when a large layer comes over several connections at once, as parts. The
// zero value works.
type Ranges struct {
	// Above is the size of layers, in compressed bytes, up to which one connection is
	// always enough. 0 is 64 MiB; a negative number is never to use more.
	Above int64
	// Part is the size of one part in bytes. 0 is 4 MiB.
	Part int64
	// Enough is how many bytes a second one connection has to bring, in the time that the
	// reader waits for it, for no others to be opened. 0 is 64 MiB.
	Enough int64
}

const (
	// parallelParts is how many parts of a layer are fetched at once.
	parallelParts = 4
	// parallelLayers is how many layers of an image may come in parts at once; others
	// make do with one connection. This bounds memory: see the package comment.
	parallelLayers = 2
	// windowParts is the length, in parts, over which the speed of one connection is
	// judged, and also how far ahead of it the first part begins.
	windowParts = 2
)

func (r Ranges) withDefaults() Ranges {
	r.Above = cmp.Or(r.Above, 64<<20)
	if r.Above < 0 {
		r.Above = math.MaxInt64
	}
	r.Part = cmp.Or(r.Part, 4<<20)
	r.Enough = cmp.Or(r.Enough, 64<<20)
	return r
}

// slow reports whether waiting so long for so many bytes calls for more connections.
func (r Ranges) slow(bytes int64, waited time.Duration) bool {
	return waited.Seconds()*float64(r.Enough) > float64(bytes)
}

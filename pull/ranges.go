package pull

import (
	"cmp"
	"math"
	"time"
)

// Ranges decide when a large layer is fetched over several connections at once, in parts. The zero
// value works.
type Ranges struct {
	// Above is the size in compressed bytes up to which a layer uses a single connection. 0 means
	// 64 MiB; a negative number means never more than one connection.
	Above int64
	// Part is the size of one part in bytes. 0 means 4 MiB.
	Part int64
	// Enough is the speed of a single connection, in bytes per second of the time that the reader
	// waits for it, above which no others are opened. 0 means 64 MiB.
	Enough int64
}

const (
	// parallelParts is the number of parts of a layer that are fetched at once.
	parallelParts = 4
	// parallelLayers is the number of layers of an image that may be fetched in parts at once;
	// others use one connection. This bounds memory: see the package comment.
	parallelLayers = 2
	// windowParts is the distance, in parts, over which the speed of a single connection is judged,
	// and also the distance ahead of it at which the first part begins.
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

package sandbox

import "runtime"

// preparedByEach is the number of sandboxes that are prepared at once for each CPU. A larger number
// is no faster: a runtime copies the host's table of mounts, which includes those of every other
// sandbox, so preparing a thousand at once took quadratic time and a gigabyte of memory. Sandboxes
// that are finished earlier can run and end in the meantime.
const preparedByEach = 4

// newPlaces returns a channel with room for one element per sandbox that is being prepared.
func newPlaces() chan struct{} { return make(chan struct{}, preparedByEach*runtime.NumCPU()) }

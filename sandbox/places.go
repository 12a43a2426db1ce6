package sandbox

import "runtime"

// preparedByEach is how many sandboxes are prepared at once for each CPU. More would not be done sooner:
// a runtime copies the host's table of mounts, in which every other sandbox is, and so a thousand at
// once took the square of their number in time and a gigabyte of memory. Those that
// are done meanwhile run, end and go.
const preparedByEach = 4

// newPlaces returns a channel that takes an element for each sandbox that is being prepared.
func newPlaces() chan struct{} { return make(chan struct{}, preparedByEach*runtime.NumCPU()) }

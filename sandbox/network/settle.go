package network

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// settleTime bounds how long a link is waited for. Whoever uses one too early
// loses its first packet, and asks again a second later.
const (
	settleTime = time.Second
	settlePace = time.Millisecond
)

// settle returns once links that have just come up carry packets. The kernel
// does its part of that later, in a queue of its own: until then a bridge does not
// know its new port, and what is sent is dropped. From Linux 6.8 on, asking for
// the link does that work at once; older kernels have to be waited for.
func settle(handle *netlink.Handle, names ...string) error {
	for _, name := range names {
		for end := time.Now().Add(settleTime); ; time.Sleep(settlePace) {
			link, err := handle.LinkByName(name)
			if err != nil {
				return fmt.Errorf("look at the link %s: %w", name, err)
			}
			if link.Attrs().OperState == netlink.OperUp || time.Now().After(end) {
				break
			}
		}
	}
	return nil
}

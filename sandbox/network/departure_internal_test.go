package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
)

// A connection that lasts, or a process that nobody knows of, keeps the router's namespace in
// existence. The host's link must not wait for it.
func TestLinkLeavesTheHostWhileSomebodyHoldsTheRoutersNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the kernel lets only root make a network
	}
	for name, isHeld := range map[string]bool{"held": true, "free": false} {
		t.Run(name, func(t *testing.T) {
			n := New(Options{Run: "aaaaaaaaax", Dir: filepath.Join(t.TempDir(), "network")})
			if err := n.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			link := n.uplink.name()
			if _, err := netlink.LinkByName(link); err != nil {
				t.Fatal(err)
			}
			if isHeld {
				holder, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", n.router.namespace.Fd()))
				if err != nil {
					t.Fatal(err)
				}
				defer holder.Close()
			}
			if err := n.Down(); err != nil {
				t.Fatal(err)
			}
			if _, err := netlink.LinkByName(link); !errors.As(err, new(netlink.LinkNotFoundError)) {
				t.Errorf("left behind: link %s: %v", link, err)
			}
			if err := n.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNetworkWhoseLinkSomebodyHasDeletedIsTakenAway(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the kernel lets only root make a network
	}
	n := New(Options{Run: "aaaaaaaaay", Dir: filepath.Join(t.TempDir(), "network")})
	if err := n.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := deleteLink(n.uplink.link, n.uplink.name()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Down(), n.Wait()); err != nil {
		t.Error(err)
	}
}

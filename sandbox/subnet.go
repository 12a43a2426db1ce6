package sandbox

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
)

// subnetPools are where runs get their networks from: a piece of each range of
// RFC 1918, for hosts that have routes to one or two of them as a whole.
func subnetPools() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.213.0.0/16"),
		netip.MustParsePrefix("172.30.0.0/16"),
		netip.MustParsePrefix("192.168.208.0/20"),
	}
}

// subnetBits make a network of four addresses: itself, the bridge, the run and
// the broadcast address.
const subnetBits = 30

// errNoSubnet is the answer where the host's routes cover all of the pools.
var errNoSubnet = errors.New("no free subnet: the host has routes to all of 10.213.0.0/16, 172.30.0.0/16 and 192.168.208.0/20 (give a CNI configuration with a subnet of your own)")

// freeSubnet finds a network that the host has no route to. It begins
// somewhere, so that a run seldom inherits another's tracked connections.
func freeSubnet(routes []route) (netip.Prefix, error) {
	for _, pool := range subnetPools() {
		count := 1 << (subnetBits - pool.Bits())
		start := rand.IntN(count)
		for i := range count {
			subnet := nthSubnet(pool, (start+i)%count)
			if !isRouted(subnet, routes) {
				return subnet, nil
			}
		}
	}
	return netip.Prefix{}, errNoSubnet
}

func nthSubnet(pool netip.Prefix, n int) netip.Prefix {
	address := pool.Addr().As4()
	n <<= 32 - subnetBits
	address[2] |= byte(n >> 8)
	address[3] = byte(n)
	return netip.PrefixFrom(netip.AddrFrom4(address), subnetBits)
}

// isRouted passes over routes wider than any private network: the default
// route, and the halves of everything that VPNs put over it.
func isRouted(subnet netip.Prefix, routes []route) bool {
	for _, r := range routes {
		if r.to.Bits() >= 8 && r.to.Overlaps(subnet) {
			return true
		}
	}
	return false
}

// outgoingMTU is that of the default route's interface, in bytes; 0 where there
// is none. A private network with a larger one would lose large packets where
// routers on the way do not say that they are too large.
func outgoingMTU(routes []route) int {
	for _, r := range routes {
		if r.to.Bits() > 0 {
			continue
		}
		if link, err := net.InterfaceByIndex(r.link); err == nil {
			return link.MTU
		}
	}
	return 0
}

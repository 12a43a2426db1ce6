package network

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// poolLock is held by whoever takes a subnet, whatever its state root. The
// record of what is taken is the host's routing table: a run's link carries the
// route to its subnet, and nothing can leak that is not in the kernel.
const poolLock = "/run/stepexec/network.lock"

// pools are where runs get their subnets from: a piece of each range of RFC
// 1918, for hosts that have routes to one or two of them as a whole.
func pools() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.213.0.0/16"),
		netip.MustParsePrefix("172.30.0.0/16"),
		netip.MustParsePrefix("192.168.208.0/20"),
	}
}

// subnetBits make a network for 249 containers: its last four addresses are
// the link between the run's router and the host.
const subnetBits = 24

// errNoSubnet says that the host's routes cover all of the pools.
var errNoSubnet = errors.New("no free subnet: the host has routes to all of 10.213.0.0/16, 172.30.0.0/16 and 192.168.208.0/20 (end other runs, or give a CNI configuration with a subnet of your own)")

// subnet is a run's part of the address space.
type subnet struct {
	v4 netip.Prefix // of the containers, a /24
	v6 netip.Prefix // a /48 of RFC 4193: subnet 0 is the containers', subnet 1 the link to the host
}

// Addresses are those of one container.
type Addresses struct{ V4, V6 netip.Addr }

func (a Addresses) has(address netip.Addr) bool { return address == a.V4 || address == a.V6 }

// The places within a subnet.
const (
	placeRouter    = 1 // the router, on the bridge: the containers' gateway and name server
	firstContainer = 2
	lastContainer  = 250
	placeUplink    = 253 // the router, on its link to the host
	placeHost      = 254 // the host, on that link
	uplinkBits     = 30
)

// at is the address of a place on the bridge.
func (s subnet) at(place int) Addresses {
	v4, v6 := s.v4.Addr().As4(), s.v6.Addr().As16()
	v4[3], v6[15] = byte(place), byte(place)
	return Addresses{netip.AddrFrom4(v4), netip.AddrFrom16(v6)}
}

// onUplink is the address of a place on the link between router and host.
func (s subnet) onUplink(place int) Addresses {
	a := s.at(place)
	v6 := a.V6.As16()
	v6[7] = 1
	a.V6 = netip.AddrFrom16(v6)
	return a
}

// takeSubnet finds a subnet that the host has no route to. It begins somewhere,
// so that a run seldom inherits another's tracked connections.
func takeSubnet(routes []netip.Prefix) (subnet, error) {
	var random [8]byte
	rand.Read(random[:])
	v6 := [16]byte{0: 0xfd}
	copy(v6[1:6], random[:5])
	s := subnet{v6: netip.PrefixFrom(netip.AddrFrom16(v6), 48)}
	for _, pool := range pools() {
		count := 1 << (subnetBits - pool.Bits())
		start := int(random[6])<<8 | int(random[7])
		for i := range count {
			s.v4 = nthSubnet(pool, (start+i)%count)
			if !isRouted(s.v4, routes) {
				return s, nil
			}
		}
	}
	return subnet{}, errNoSubnet
}

func nthSubnet(pool netip.Prefix, n int) netip.Prefix {
	address := pool.Addr().As4()
	address[1] |= byte(n >> 8)
	address[2] |= byte(n)
	return netip.PrefixFrom(netip.AddrFrom4(address), subnetBits)
}

// isRouted passes over routes wider than any private network: the default
// route, and the halves of everything that VPNs put over it.
func isRouted(want netip.Prefix, routes []netip.Prefix) bool {
	for _, to := range routes {
		if to.Bits() >= 8 && to.Overlaps(want) {
			return true
		}
	}
	return false
}

// hostFacts are what a run's network depends on.
type hostFacts struct {
	routes    []netip.Prefix // of all tables
	addresses []netip.Addr   // of the host itself
	mtu       int            // bytes, of the default route's link; 0: there is none
	route4    bool           // there is a default route for IPv4
	route6    bool           // there is one for IPv6
	learned6  bool           // and a router advertisement brought it
}

// maxReads bounds how often the kernel's lists are read anew that others have
// changed meanwhile.
const maxReads = 50

// readHostFacts reads them until nobody has changed them meanwhile: a list that
// lacks a route would have two runs take one subnet.
func readHostFacts(link *netlink.Handle) (f hostFacts, err error) {
	for range maxReads {
		if f, err = tryHostFacts(link); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return f, err
}

func tryHostFacts(link *netlink.Handle) (hostFacts, error) {
	var f hostFacts
	routes, err := link.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return f, fmt.Errorf("list the host's routes: %w", err)
	}
	for _, r := range routes {
		isDefault := r.Dst == nil || r.Dst.IP.IsUnspecified() && ones(r.Dst.Mask) == 0
		if !isDefault {
			if to, ok := netip.AddrFromSlice(r.Dst.IP); ok {
				f.routes = append(f.routes, netip.PrefixFrom(to.Unmap(), ones(r.Dst.Mask)))
			}
			continue
		}
		if r.Type != unix.RTN_UNICAST {
			continue
		}
		f.route4 = f.route4 || r.Family == unix.AF_INET
		if r.Family == unix.AF_INET6 {
			f.route6, f.learned6 = true, f.learned6 || r.Protocol == unix.RTPROT_RA
		}
		if l, err := link.LinkByIndex(r.LinkIndex); err == nil && (f.mtu == 0 || l.Attrs().MTU < f.mtu) {
			f.mtu = l.Attrs().MTU
		}
	}
	addresses, err := link.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return f, fmt.Errorf("list the host's addresses: %w", err)
	}
	for _, a := range addresses {
		if address, ok := netip.AddrFromSlice(a.IP); ok {
			f.addresses = append(f.addresses, address.Unmap())
		}
	}
	return f, nil
}

func ones(mask []byte) int {
	n := 0
	for _, b := range mask {
		for ; b != 0; b <<= 1 {
			n++
		}
	}
	return n
}

// underLock runs f while no other run takes a subnet or changes rules that all
// share. f is not cut short by a cancelled run.
func underLock(ctx context.Context, f func(context.Context) error) error {
	if err := os.MkdirAll(filepath.Dir(poolLock), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(poolLock, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("lock %s: %w", poolLock, err)
		}
		return f(context.WithoutCancel(ctx))
	}
}

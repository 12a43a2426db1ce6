package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Names of links in the router's namespace and in containers.
const (
	bridgeName    = "bridge"
	uplinkName    = "uplink"
	containerName = "eth0"
)

// firstLink is where the indices of the containers' links begin, above those that the kernel gives
// by itself.
const firstLink = 1000

// router is the network namespace in the middle of a run: the bridge that the
// containers are plugged into, and the link that leads out of it. No firewall of
// the host sees what goes on in it, so nothing that reloads one opens it.
type router struct {
	namespace *os.File // keeps it in existence
	bridge    int      // index of the bridge
	link      *netlink.Handle
	nft       *nftables.Conn
	sets      uint32 // how many sets were added: the number of the last one
	subnet    subnet
	mtu       int // bytes; 0: the kernel's default
}

// openRouter makes the namespace with its bridge. It ends with whoever holds it open, however that
// happens. An error leaves nothing behind.
func openRouter(s subnet, mtu int) (*router, error) {
	r := &router{subnet: s, mtu: mtu}
	err := OnOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if err := errors.Join(r.open(), routerSettings()); err != nil {
			return err
		}
		return r.addBridge()
	})
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// open opens the namespace of the calling thread, and the sockets by which the router is set up.
func (r *router) open() (err error) {
	if r.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if r.link, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	if r.nft, err = nftables.New(nftables.AsLasting()); err != nil {
		return fmt.Errorf("open an nftables socket: %w", err)
	}
	return nil
}

// routerSettings makes the calling thread's namespace a router. A host whose
// kernel filters what its bridges carry as if it was routed must not do so
// here: peers of a run are never filtered.
func routerSettings() error {
	for _, setting := range []struct {
		name, value string
		optional    bool
	}{
		{"net/ipv4/ip_forward", "1", false},
		{"net/ipv6/conf/all/forwarding", "1", true},
		{"net/ipv6/conf/default/accept_dad", "0", true},
		{"net/bridge/bridge-nf-call-iptables", "0", true},
		{"net/bridge/bridge-nf-call-ip6tables", "0", true},
		{"net/bridge/bridge-nf-call-arptables", "0", true},
		{"net/ipv4/conf/all/send_redirects", "0", true},
		{"net/ipv4/conf/default/send_redirects", "0", true},
	} {
		err := setSysctl(setting.name, setting.value)
		if err != nil && !(setting.optional && errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// setSysctl changes a setting of the calling thread's network namespace.
func setSysctl(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}

// addBridge runs in the router's namespace.
func (r *router) addBridge() error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MTU = bridgeName, r.mtu
	// An address of its own: otherwise it changes with the first and the last
	// port, and neighbours send to an address that is gone.
	attributes.HardwareAddr = hardwareAddress(r.subnet.at(placeRouter).V4)
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := r.link.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the run's bridge: %w", err)
	}
	r.bridge = bridge.Index
	return errors.Join(
		bridgeSettings(),
		r.addAddresses(bridge, r.subnet.at(placeRouter), subnetBits, 64),
		r.link.LinkSetUp(bridge),
		setLoopbackUp(r.link),
	)
}

// setLoopbackUp sets up the loopback of a handle's namespace.
func setLoopbackUp(handle *netlink.Handle) error {
	lo, err := handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback: %w", err)
	}
	return handle.LinkSetUp(lo)
}

// bridgeSettings have the router answer at once for the host's address, which
// containers look for on the bridge as it is of their subnet.
func bridgeSettings() error {
	return errors.Join(
		setSysctl("net/ipv4/conf/"+bridgeName+"/proxy_arp", "1"),
		setSysctl("net/ipv4/neigh/"+bridgeName+"/proxy_delay", "0"),
	)
}

func (r *router) addAddresses(link netlink.Link, a Addresses, bits4, bits6 int) error {
	return addAddresses(r.link, link, a, bits4, bits6)
}

// addAddresses gives a link its addresses. Of IPv6 it is no error when the
// kernel has none.
func addAddresses(handle *netlink.Handle, link netlink.Link, a Addresses, bits4, bits6 int) error {
	if err := handle.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a.V4, bits4)}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, a.V4, err)
	}
	err := handle.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a.V6, bits6), Flags: unix.IFA_F_NODAD})
	if err != nil && !isWithoutIPv6(err) {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, a.V6, err)
	}
	return nil
}

// isWithoutIPv6 recognises how kernels refuse addresses and routes where IPv6
// is switched off or left out.
func isWithoutIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES)
}

// addDefaultRoutes sends what has no nearer route to a gateway.
func addDefaultRoutes(handle *netlink.Handle, index int, gateway Addresses) error {
	if err := handle.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.V4.AsSlice()}); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	if err := handle.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.V6.AsSlice()}); err != nil && !isWithoutIPv6(err) && !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) {
		return fmt.Errorf("add the default route of IPv6: %w", err)
	}
	return nil
}

// linkAttributes are those of both ends of a link between two namespaces. The kernel would prepare
// such a link for one queue per CPU and then take all but one away, for a grace period each.
func linkAttributes(name string, mtu int) netlink.LinkAttrs {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MTU = name, mtu
	attributes.NumTxQueues, attributes.NumRxQueues = 1, 1
	return attributes
}

// hardwareAddress is a locally administered address that says which container
// it is.
func hardwareAddress(v4 netip.Addr) net.HardwareAddr {
	b := v4.As4()
	return net.HardwareAddr{0x02, 0x5e, b[0], b[1], b[2], b[3]}
}

func ipNet(address netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, address.BitLen())}
}

// close closes the namespace, and what was opened in it. The kernel then deletes the namespace with
// its links, and with them the other ends of links that lead out of it. nil: there is none.
func (r *router) close() error {
	if r == nil {
		return nil
	}
	var failed []error
	if r.link != nil {
		r.link.Close()
	}
	if r.nft != nil {
		failed = append(failed, r.nft.CloseLasting())
	}
	if r.namespace != nil {
		failed = append(failed, r.namespace.Close())
	}
	return errors.Join(failed...)
}

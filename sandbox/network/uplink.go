package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkPrefix begins the names of the links that lead from the host into runs;
// with a run's ID behind it a name has the 15 bytes that the kernel allows.
const linkPrefix = "step-"

// uplink is what a run puts on the host: one link, its routes, one table of
// nftables and, where a firewall of the host's refuses what it does not know,
// rules in that.
type uplink struct {
	run     string
	subnet  subnet
	masked6 bool    // IPv6 leads out as well
	probes  [2]bool // whether CheckForwarding can try IPv4 and IPv6
	link    *netlink.Handle
	nft     *nftables.Conn
}

func newUplink(run string) (*uplink, error) {
	u := &uplink{run: run}
	var err error
	if u.link, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	if u.nft, err = nftables.New(nftables.AsLasting()); err != nil {
		u.link.Close()
		return nil, fmt.Errorf("open an nftables socket: %w", err)
	}
	return u, nil
}

func (u *uplink) close() error {
	u.link.Close()
	return u.nft.CloseLasting()
}

func (u *uplink) name() string { return linkPrefix + u.run }

// add makes the link between host and router.
func (u *uplink) add(r *router) error {
	attributes := linkAttributes(u.name(), r.mtu)
	attributes.HardwareAddr = hardwareAddress(u.subnet.onUplink(placeHost).V4)
	link := &netlink.Veth{
		LinkAttrs: attributes, PeerName: uplinkName,
		PeerHardwareAddr: hardwareAddress(u.subnet.onUplink(placeUplink).V4),
		PeerNamespace:    netlink.NsFd(r.namespace.Fd()),
	}
	if err := u.link.LinkAdd(link); err != nil {
		return fmt.Errorf("make the link %s: %w", u.name(), err)
	}
	if err := u.addHostSide(link); err != nil {
		return err
	}
	there, err := r.link.LinkByName(uplinkName)
	if err != nil {
		return err
	}
	if err := errors.Join(r.addAddresses(there, u.subnet.onUplink(placeUplink), uplinkBits, 64), r.link.LinkSetUp(there)); err != nil {
		return err
	}
	if err := addDefaultRoutes(r.link, there.Attrs().Index, u.subnet.onUplink(placeHost)); err != nil {
		return err
	}
	return errors.Join(settle(u.link, u.name()), settle(r.link, uplinkName))
}

func (u *uplink) addHostSide(link netlink.Link) error {
	// A link with two known ends has nobody to learn from, and no duplicate
	// address that would be worth a second of waiting.
	for _, setting := range []string{"accept_ra", "accept_dad"} {
		err := setSysctl("net/ipv6/conf/"+u.name()+"/"+setting, "0")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := addAddresses(u.link, link, u.subnet.onUplink(placeHost), uplinkBits, 64); err != nil {
		return err
	}
	if err := u.link.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", u.name(), err)
	}
	via := u.subnet.onUplink(placeUplink)
	index := link.Attrs().Index
	to4 := &net.IPNet{IP: u.subnet.v4.Addr().AsSlice(), Mask: net.CIDRMask(subnetBits, 32)}
	if err := u.link.RouteAdd(&netlink.Route{LinkIndex: index, Dst: to4, Gw: via.V4.AsSlice()}); err != nil {
		return fmt.Errorf("add the route to %s: %w", u.subnet.v4, err)
	}
	to6 := ipNet(u.subnet.v6.Addr(), 64)
	if err := u.link.RouteAdd(&netlink.Route{LinkIndex: index, Dst: to6, Gw: via.V6.AsSlice()}); err != nil && !isWithoutIPv6(err) && !errors.Is(err, unix.EHOSTUNREACH) {
		return fmt.Errorf("add the route to %s: %w", to6, err)
	}
	return nil
}

// forward has the host carry packets. Once it forwards IPv6 it would no longer
// listen to router advertisements: where its own default route comes from one,
// runs have IPv6 among themselves only.
func (u *uplink) forward(facts *hostFacts) error {
	if err := setOnce("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	u.probes[index(false)] = facts.route4 && !slices.Contains(facts.addresses, probed(false).Addr())
	if !facts.route6 {
		return nil
	}
	const all6 = "net/ipv6/conf/all/forwarding"
	forwards, err := os.ReadFile("/proc/sys/" + all6)
	if err != nil {
		return nil // a host without IPv6
	}
	if forwards[0] == '0' && facts.learned6 {
		return nil
	}
	u.masked6 = true
	u.probes[index(true)] = !slices.Contains(facts.addresses, probed(true).Addr())
	return setOnce(all6, "1")
}

// setOnce changes a setting only where it is another, which a read-only /proc
// then does not refuse.
func setOnce(name, value string) error {
	now, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if len(now) > 0 && string(now[:len(now)-1]) == value {
		return nil
	}
	return setSysctl(name, value)
}

// deleteLink deletes a link. It is no error when there is none.
func deleteLink(handle *netlink.Handle, name string) error {
	link, err := handle.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = handle.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete network link %s: %w", name, err)
	}
	return nil
}

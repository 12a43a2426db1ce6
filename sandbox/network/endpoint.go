package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/egress"
)

// Member is a container that joins a network.
type Member struct {
	Names   []string // that lead to it, its own first; a name that was pinned gives it its address
	Servers []string // addresses of name servers that answer it in place of the host's
	Gateway bool     // it may reach the host, see Bridged.HostGateway
	Egress  egress.Rules
	Refused func(Refusal) // is told what its egress rules refuse, at most maxRefusals times; nil: nobody
}

// Endpoint is a container's place on a network.
type Endpoint struct {
	Addresses
	network *Bridged
	serial  int // of all containers of the run
	place   int
	names   []string
	servers []string
	gateway bool
	link    string     // its end on the bridge
	rules   *stepRules // nil: open
	record  *record
}

// Join gives a container its addresses and its names, before it exists.
func (n *Bridged) Join(m Member) (*Endpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &Endpoint{network: n, servers: withPorts(m.Servers), gateway: m.Gateway, record: newRecord(m, n.lost)}
	for _, name := range m.Names {
		e.names = append(e.names, strings.ToLower(name))
	}
	if len(e.names) > 0 {
		e.place = n.pinned[e.names[0]]
	}
	if e.place == 0 {
		place, err := n.freePlace()
		if err != nil {
			return nil, err
		}
		e.place = place
	}
	n.serial++
	e.serial, e.Addresses, e.link = n.serial, n.router.subnet.at(e.place), "c"+strconv.Itoa(n.serial)
	if m.Egress.Mode != egress.Open {
		rules, err := n.tables.egress.enforce(n.router, n.serial, e.Addresses, m.Egress)
		if err != nil {
			return nil, err
		}
		e.rules = rules
	}
	n.members[e.place] = e
	for _, name := range e.names {
		n.byName[name] = append(n.byName[name], e)
	}
	return e, nil
}

// Plug connects the network namespace of a container, a file. Nothing in it is set up yet, except
// that its loopback may be.
func (e *Endpoint) Plug(namespace *os.File) error {
	n := e.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.admit(e); err != nil {
		return err
	}
	attributes := linkAttributes(e.link, n.router.mtu)
	attributes.MasterIndex, attributes.Flags = n.router.bridge, net.FlagUp
	// With an index of our own nobody asks for it: the kernel would first take note that the link
	// is up and leads nowhere yet, which takes it a grace period.
	attributes.Index = firstLink + e.serial
	veth := &netlink.Veth{
		LinkAttrs: attributes, PeerName: containerName,
		PeerHardwareAddr: hardwareAddress(e.V4), PeerNamespace: netlink.NsFd(namespace.Fd()),
	}
	if err := n.router.link.LinkAdd(veth); err != nil {
		return fmt.Errorf("connect the container to the run's bridge: %w", err)
	}
	if err := inside(namespace, func() error { return e.setUp(n.router.subnet.at(placeRouter)) }); err != nil {
		return fmt.Errorf("set up the container's network: %w", err)
	}
	return settle(n.router.link, e.link, bridgeName)
}

// admit lets the bridge take packets from the container, and the router those
// for the host.
func (n *Bridged) admit(e *Endpoint) error {
	if err := n.tables.addMember(n.router.nft, e); err != nil {
		return err
	}
	if err := n.router.nft.Flush(); err != nil {
		return fmt.Errorf("admit the container to the run's bridge: %w", err)
	}
	if !e.gateway || n.uplink == nil {
		return nil
	}
	if err := n.changeGates(n.uplink.nft.SetAddElements, e); err != nil {
		return err
	}
	return n.uplink.nft.Flush()
}

type changeSet func(*nftables.Set, []nftables.SetElement) error

func (t *routerTables) addMember(nft *nftables.Conn, e *Endpoint) error {
	link := linkName(e.link)
	port := func(address netip.Addr) []nftables.SetElement {
		return []nftables.SetElement{{Key: slices.Concat(link, address.AsSlice())}}
	}
	err := errors.Join(nft.SetAddElements(t.ports4, port(e.V4)), nft.SetAddElements(t.ports6, port(e.V6)))
	if e.gateway {
		err = errors.Join(err, t.changeGates(nft.SetAddElements, e))
	}
	return err
}

func (t *routerTables) changeGates(change changeSet, e *Endpoint) error {
	return errors.Join(
		change(t.gates4, []nftables.SetElement{{Key: e.V4.AsSlice()}}),
		change(t.gates6, []nftables.SetElement{{Key: e.V6.AsSlice()}}),
	)
}

func (n *Bridged) changeGates(change changeSet, e *Endpoint) error {
	return errors.Join(
		change(n.gates[0], []nftables.SetElement{{Key: e.V4.AsSlice()}}),
		change(n.gates[1], []nftables.SetElement{{Key: e.V6.AsSlice()}}),
	)
}

// setUp runs in the container's namespace.
func (e *Endpoint) setUp(gateway Addresses) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	if err := setSysctl("net/ipv6/conf/"+containerName+"/accept_ra", "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := setLoopbackUp(handle); err != nil {
		return err
	}
	link, err := handle.LinkByName(containerName)
	if err != nil {
		return err
	}
	if err := addAddresses(handle, link, e.Addresses, subnetBits, 64); err != nil {
		return err
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", containerName, err)
	}
	return addDefaultRoutes(handle, link.Attrs().Index, gateway)
}

// Leave gives the container's place back. Its processes must have ended: the
// kernel then deletes its link with its namespace.
func (e *Endpoint) Leave() error {
	e.record.close()
	n := e.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(e)
	if n.router == nil {
		return nil
	}
	var failed []error
	if e.rules != nil {
		failed = append(failed, e.count(true), e.rules.remove())
		e.rules = nil
	}
	failed = append(failed, n.tables.egress.peers.forget(n.router, e.Addresses))
	// The bridge may go on to take packets of a link that is never made again.
	if e.gateway {
		failed = append(failed, n.tables.changeGates(n.router.nft.SetDeleteElements, e), ignoreMissing(n.router.nft.Flush()))
	}
	if e.gateway && n.uplink != nil {
		failed = append(failed, n.changeGates(n.uplink.nft.SetDeleteElements, e), ignoreMissing(n.uplink.nft.Flush()))
	}
	return errors.Join(failed...)
}

// ignoreMissing passes over what was never there, as where a container was
// never plugged in.
func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Dial connects to an address from the router, which every container of the
// run answers.
func (n *Bridged) Dial(ctx context.Context, protocol, to string) (conn net.Conn, err error) {
	n.mu.Lock()
	r := n.router
	n.mu.Unlock()
	if r == nil {
		return nil, errors.New("the private network is gone")
	}
	err = inside(r.namespace, func() error {
		conn, err = new(net.Dialer).DialContext(ctx, protocol, to)
		return err
	})
	return conn, err
}

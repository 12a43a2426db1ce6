package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// Bridged is a run's network: a bridge that every container is plugged into
// with an address of its own, and a router between it and the host.
//
//	container ─ eth0 ── cN ┐
//	container ─ eth0 ── cN ┤ bridge   router   uplink ── step-RUN   host ── the world
//	container ─ eth0 ── cN ┘
//	└── own namespace ──┘  └── the router's namespace ──┘
//
// With root the uplink is a link to the host, which puts its own address in
// place of the containers'. Without root it is the tap device of a program that
// makes ordinary connections of the host.
type Bridged struct {
	o Options

	change sync.Mutex // held, and taken before mu, while the network is made or taken away

	mu       sync.Mutex // guards the rest, and the sockets of router and uplink
	router   *router    // nil: it is not up
	tables   *routerTables
	uplink   *uplink // nil: without root
	gates    [2]*nftables.Set
	leave    func() error // of Options.Connect
	resolver *resolver
	reporter *reporter
	watch    *firewallWatch // nil: without root
	host     *hostWatch     // nil: with root, where the host's own table closes all of its addresses
	check    *check         // nil: nobody would be warned
	lost     func()         // warns, the first time, that records lack connections
	closing  crash.Group    // those who close the sockets of a network that was taken away

	serial  int
	next    int               // where the search for a free place begins
	pinned  map[string]int    // place of names that keep theirs for all of the run
	members map[int]*Endpoint // by their place
	byName  map[string][]*Endpoint
}

// Options are what a run's network is made with.
type Options struct {
	Run string // ID of the run, of 10 letters and digits
	Dir string // of the network's own, in memory, made when missing

	// Connect leads the router's namespace, a file, to the outside without root, by
	// a device called Uplink. nil: a link to the host, which takes root.
	Connect func(namespace string) (release func() error, err error)

	Servers []string // addresses of the host's name servers

	// Allowance is how much longer than its name server says an address may be reached
	// that egress rules have by name; 0: 30 seconds.
	Allowance time.Duration

	Warn func(line string) // is told what happens to the network while it is up; nil: nobody
}

// Uplink is what the device that leads out of a router is called.
const Uplink = uplinkName

// New returns a run's network, of which nothing exists before Up.
func New(o Options) *Bridged {
	return &Bridged{
		o: o, next: firstContainer, lost: sync.OnceFunc(o.warnOfLost),
		pinned: map[string]int{}, members: map[int]*Endpoint{}, byName: map[string][]*Endpoint{},
	}
}

// pin is where the router's namespace has a name, without root.
func (n *Bridged) pin() string { return filepath.Join(n.o.Dir, "router") }

// Up makes the network, unless that has been done. An error leaves nothing
// behind.
func (n *Bridged) Up(ctx context.Context) error {
	n.change.Lock()
	defer n.change.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.router != nil {
		return nil
	}
	if err := os.MkdirAll(n.o.Dir, 0o700); err != nil {
		return err
	}
	err := n.up(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("private network: %w", err), n.takeAway())
	}
	return nil
}

func (n *Bridged) up(ctx context.Context) error {
	if n.o.Connect != nil {
		if err := n.upWithoutRoot(); err != nil {
			return err
		}
	} else if err := underLock(ctx, func(context.Context) error { return n.upWithRoot() }); err != nil {
		return err
	}
	var err error
	if n.resolver, err = startResolver(n.router.namespace, n.router.subnet.at(placeRouter).V4, withPorts(n.o.Servers), n); err != nil {
		return err
	}
	if n.reporter, err = startReporter(n.router.namespace, n.receive, n.lost); err != nil {
		return err
	}
	if n.uplink == nil {
		return n.watchHost()
	}
	n.check = n.beginCheck()
	n.watch, err = startFirewallWatch(tablePrefix+n.o.Run, n.uplink.mark(), n.restore)
	return err
}

// restore puts back what somebody has taken away from the host: whoever reloads
// a firewall may flush all tables, and those of runs with them.
func (n *Bridged) restore() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.uplink == nil || n.router == nil {
		return
	}
	isBack := false
	err := underLock(context.Background(), func(context.Context) (err error) {
		if !n.uplink.hasTable() {
			isBack = true
			if err := n.remakeTable(); err != nil {
				return err
			}
		}
		return n.uplink.addHoles()
	})
	switch {
	case n.o.Warn == nil:
	case err != nil:
		n.o.Warn(fmt.Sprintf("somebody has changed the host's firewall, and the run's private network may have lost its way out: %v", err))
	case isBack:
		n.o.Warn("somebody has flushed the host's firewall; the run's table " + tablePrefix + n.o.Run + " is back")
	}
}

// remakeTable makes the run's table on the host once more, with the containers
// that may reach the host.
func (n *Bridged) remakeTable() (err error) {
	if n.gates[0], n.gates[1], err = n.uplink.addTable(); err != nil {
		return err
	}
	var open [2][]nftables.SetElement
	for _, e := range n.members {
		if e.gateway {
			open[0] = append(open[0], nftables.SetElement{Key: e.V4.AsSlice()})
			open[1] = append(open[1], nftables.SetElement{Key: e.V6.AsSlice()})
		}
	}
	for i, elements := range open {
		if len(elements) > 0 {
			err = errors.Join(err, n.uplink.nft.SetAddElements(n.gates[i], elements))
		}
	}
	return errors.Join(err, n.uplink.nft.Flush())
}

func withPorts(servers []string) []string {
	var list []string
	for _, s := range servers {
		if address, err := netip.ParseAddr(s); err == nil {
			list = append(list, netip.AddrPortFrom(address, 53).String())
		}
	}
	return list
}

func (n *Bridged) upWithRoot() (err error) {
	if n.uplink, err = newUplink(n.o.Run); err != nil {
		return err
	}
	facts, err := readHostFacts(n.uplink.link)
	if err != nil {
		return err
	}
	if n.uplink.subnet, err = takeSubnet(facts.routes); err != nil {
		return err
	}
	if n.router, err = openRouter(n.uplink.subnet, facts.mtu); err != nil {
		return err
	}
	if err := n.uplink.forward(&facts); err != nil {
		return err
	}
	// The rules come first: no packet passes without them.
	if n.tables, err = n.router.addRules(n.o.Run, facts.addresses, false); err != nil {
		return err
	}
	if n.gates[0], n.gates[1], err = n.uplink.addTable(); err != nil {
		return err
	}
	if err := n.uplink.addHoles(); err != nil {
		return err
	}
	return n.uplink.add(n.router)
}

func (n *Bridged) upWithoutRoot() error {
	host, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer host.Close()
	facts, err := readHostFacts(host)
	if err != nil {
		return err
	}
	s, err := takeSubnet(facts.routes)
	if err != nil {
		return err
	}
	if n.router, err = openRouter(s, facts.mtu); err != nil {
		return err
	}
	if n.tables, err = n.router.addRules(n.o.Run, facts.addresses, true); err != nil {
		return err
	}
	// A program with fewer rights than ours may not look into our /proc.
	if err := pinOpen(n.router.namespace, n.pin()); err != nil {
		return err
	}
	n.leave, err = n.o.Connect(n.pin())
	return err
}

// Down takes the network away, if there is one. Containers must have left.
func (n *Bridged) Down() error {
	n.change.Lock()
	defer n.change.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.router == nil && n.uplink == nil {
		return nil
	}
	if err := n.takeAway(); err != nil {
		return fmt.Errorf("take the private network away: %w", err)
	}
	return nil
}

// takeAway undoes as much of up as was done.
func (n *Bridged) takeAway() error {
	var failed []error
	// Those who answer need mu: they end without it. Nobody takes the network for one that is up
	// meanwhile, as change is still held.
	n.mu.Unlock()
	failed = append(failed, n.watch.close(), n.host.close(), n.check.end(), n.resolver.close())
	n.mu.Lock()
	if n.leave != nil {
		failed = append(failed, n.leave())
		n.leave = nil
	}
	if n.uplink != nil {
		failed = append(failed, n.leaveHost())
	} else {
		failed = append(failed, unpinNamespace(n.pin()))
		n.closeRouter()
	}
	failed = append(failed, os.RemoveAll(n.o.Dir))
	n.watch, n.host, n.check, n.resolver, n.reporter, n.router, n.uplink = nil, nil, nil, nil, nil, nil, nil
	return errors.Join(failed...)
}

// leaveHost takes the run's link and rules off the host. The link goes with the router's
// namespace: to delete it takes the kernel far longer.
func (n *Bridged) leaveHost() error {
	uplink := n.uplink
	link, err := followLink(uplink.link, uplink.name())
	n.closeRouter()
	wait := patience
	if n.serial > 0 { // the namespaces of the run's containers come first
		wait = 0
	}
	err = errors.Join(err, uplink.deleteRules(), link.finish(wait, n.closing.Go))
	n.closing.Go(func() { _ = uplink.close() })
	return err
}

// closeRouter begins to close the router's namespace and the sockets in it. The kernel holds
// whoever closes a socket of nftables until it has freed what was deleted, some 20 ms.
func (n *Bridged) closeRouter() {
	reporter, router := n.reporter, n.router
	n.closing.Go(func() {
		err := reporter.close()
		if crashed := (*crash.Error)(nil); errors.As(err, &crashed) {
			n.closing.Note(crashed) // otherwise nothing is lost with a socket
		}
		_ = router.close()
	})
}

// Wait returns once nothing of a network that was taken away is open any more, with the panics of
// stepexec that the network has met since then, and those of the reader of the router's reports.
func (n *Bridged) Wait() error { return n.closing.Wait() }

// Sweep takes away what the network of a run has put on the host, if anything is there. It needs no
// record, and can be called again after it was itself interrupted.
func Sweep(run string) error {
	u, err := newUplink(run)
	if errors.Is(err, unix.EPROTONOSUPPORT) { // this kernel has no nftables, so no run has made a bridge
		return nil
	}
	if err != nil {
		return err
	}
	err = errors.Join(u.deleteRules(), deleteLink(u.link, u.name()), u.close())
	if err != nil {
		return fmt.Errorf("take the network of run %s away: %w", run, err)
	}
	return nil
}

// deleteRules deletes the run's table, and its rules in chains of others.
func (u *uplink) deleteRules() error {
	// Lists of rules are whole only while no other run changes any.
	return underLock(context.Background(), func(context.Context) error {
		return errors.Join(u.deleteTable(), u.sweepHoles())
	})
}

// Pin gives a name its addresses for the rest of the run, also before the
// container of that name joins and when another one takes its place.
func (n *Bridged) Pin(name string) (Addresses, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name = strings.ToLower(name)
	if place, ok := n.pinned[name]; ok {
		return n.router.subnet.at(place), nil
	}
	for _, e := range n.byName[name] { // it has joined before anybody asked for it
		if e.names[0] == name {
			n.pinned[name] = e.place
			return e.Addresses, nil
		}
	}
	place, err := n.freePlace()
	if err != nil {
		return Addresses{}, err
	}
	n.pinned[name] = place
	return n.router.subnet.at(place), nil
}

// freePlace finds a place that nobody has, beginning behind the last one that
// was taken: an address is not soon somebody else's.
func (n *Bridged) freePlace() (int, error) {
	taken := map[int]bool{}
	for _, place := range n.pinned {
		taken[place] = true
	}
	for place := range n.members {
		taken[place] = true
	}
	for range lastContainer - firstContainer + 1 {
		place := n.next
		if n.next++; n.next > lastContainer {
			n.next = firstContainer
		}
		if !taken[place] {
			return place, nil
		}
	}
	return 0, fmt.Errorf("private network: all %d addresses of the run are in use (let fewer steps run at once)", lastContainer-firstContainer+1)
}

// Router are the addresses of the containers' gateway, which is their name
// server as well.
func (n *Bridged) Router() Addresses {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.router.subnet.at(placeRouter)
}

// HostGateway are the addresses by which containers reach the host that may.
func (n *Bridged) HostGateway() (Addresses, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.uplink == nil {
		return Addresses{}, errors.New("host-gateway needs root: without root a private network has no way to the host itself (use the host's network, or run stepexec as root)")
	}
	return n.router.subnet.onUplink(placeHost), nil
}

// find answers the resolver: the container that has a name, or will have it.
func (n *Bridged) find(name string) (Addresses, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.router == nil {
		return Addresses{}, false
	}
	if place, ok := n.pinned[name]; ok {
		return n.router.subnet.at(place), true
	}
	if members := n.byName[name]; len(members) > 0 {
		return members[len(members)-1].Addresses, true
	}
	return Addresses{}, false
}

func (n *Bridged) nameOf(address netip.Addr) (string, bool) {
	e := n.client(address)
	if e == nil || len(e.names) == 0 {
		return "", false
	}
	return e.names[0], true
}

func (n *Bridged) client(from netip.Addr) *Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.members {
		if e.V4 == from || e.V6 == from {
			return e
		}
	}
	return nil
}

// forget takes a container out of the books; they may have its successor.
func (n *Bridged) forget(e *Endpoint) {
	if n.members[e.place] == e {
		delete(n.members, e.place)
	}
	for _, name := range e.names {
		n.byName[name] = slices.DeleteFunc(n.byName[name], func(other *Endpoint) bool { return other == e })
		if len(n.byName[name]) == 0 {
			delete(n.byName, name)
		}
	}
}

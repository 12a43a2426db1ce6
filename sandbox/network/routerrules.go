package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/egress"
)

// tablePrefix begins the names of all tables of runs.
const tablePrefix = "stepexec-"

// reportGroup is the netlink group to which the router's rules report.
const reportGroup = 1

// routerTables are what the router filters with:
//
//	table bridge stepexec-RUN   a container sends only from its own addresses
//	table inet stepexec-RUN     what goes out of the run, and what the router itself takes
//
// Containers reach each other over the bridge, which nothing filters.
type routerTables struct {
	ports4, ports6 *nftables.Set    // link . address of every container
	gates4, gates6 *nftables.Set    // containers that may reach the host
	host           [2]*nftables.Set // the host's own addresses of IPv4 and of IPv6
	inet           *nftables.Table
	refused        *nftables.Chain // what is closed to all
	egress         egressTables
}

// addRules sets the router's filter up in one transaction. masked has the
// router put its own address in place of the containers', where the world
// behind the uplink knows no other.
func (r *router) addRules(run string, closed []netip.Addr, masked bool) (*routerTables, error) {
	t := &routerTables{}
	if err := r.addSpoofRules(t, run); err != nil {
		return nil, err
	}
	t.inet = r.nft.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + run})
	var err error
	t.gates4, err = r.addSet(t.inet, "gates4", nftables.TypeIPAddr, nil)
	if err != nil {
		return nil, err
	}
	if t.gates6, err = r.addSet(t.inet, "gates6", nftables.TypeIP6Addr, nil); err != nil {
		return nil, err
	}
	t.refused = r.addRefused(t.inet, "refused", reportClosed)
	if err := t.egress.add(r, t.inet); err != nil {
		return nil, err
	}
	r.addInput(t.inet)
	if err := r.addForward(t, closed); err != nil {
		return nil, err
	}
	if masked {
		post := r.addBase(t.inet, "postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
		r.addRule(post, out(uplinkName), masquerade())
	}
	if err := r.nft.Flush(); err != nil {
		return nil, fmt.Errorf("set up the router's filter: %w", err)
	}
	return t, nil
}

// insert adds a set. It numbers the set itself: the library counts the sets of all connections together,
// without a lock, and two networks that come up at once could give two sets of a batch one number.
func (r *router) insert(set *nftables.Set, elements []nftables.SetElement) error {
	r.sets++
	set.ID = r.sets
	return r.nft.AddSet(set, elements)
}

func (r *router) addSet(table *nftables.Table, name string, key nftables.SetDatatype, elements []nftables.SetElement) (*nftables.Set, error) {
	set := &nftables.Set{Table: table, Name: name, KeyType: key}
	if err := r.insert(set, nil); err != nil {
		return nil, err
	}
	for some := range slices.Chunk(elements, maxElements) {
		if err := r.nft.SetAddElements(set, some); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func (r *router) addBase(table *nftables.Table, name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return r.nft.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: priority})
}

func (r *router) addRule(chain *nftables.Chain, parts ...[]expr.Any) {
	r.nft.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: join(parts...)})
}

// addRefused makes a chain that refuses at once, and reports it.
func (r *router) addRefused(table *nftables.Table, name, prefix string) *nftables.Chain {
	chain := r.nft.AddChain(&nftables.Chain{Name: name, Table: table})
	r.addRule(chain, report(reportGroup, prefix))
	r.addRule(chain, refuseTCP())
	r.addRule(chain, refuse())
	return chain
}

// addSpoofRules keep a container from sending in another's name, which may
// have another list of what it may reach: with CAP_NET_RAW or CAP_NET_ADMIN it
// makes packets, or gives itself addresses, as it likes.
func (r *router) addSpoofRules(t *routerTables, run string) error {
	table := r.nft.AddTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: tablePrefix + run})
	t.egress.bridge = table
	t.ports4 = &nftables.Set{Table: table, Name: "ports4", KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr), Concatenation: true}
	t.ports6 = &nftables.Set{Table: table, Name: "ports6", KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIP6Addr), Concatenation: true}
	for _, set := range []*nftables.Set{t.ports4, t.ports6} {
		if err := r.insert(set, nil); err != nil {
			return err
		}
	}
	chain := r.addBase(table, "prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRef(*nftables.ChainPriorityRaw))
	link := &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: firstRegister}
	senderOfARP := &expr.Payload{DestRegister: nextRegister, Base: expr.PayloadBaseNetworkHeader, Offset: 14, Len: 4} // spa of RFC 826
	r.addRule(chain, etherType(unix.ETH_P_IP), []expr.Any{link, loadAddress(nextRegister, false, false), lookup(t.ports4, true)}, drop())
	r.addRule(chain, etherType(unix.ETH_P_ARP), []expr.Any{link, senderOfARP, lookup(t.ports4, true)}, drop())
	v6 := etherType(unix.ETH_P_IPV6)
	source := loadAddress(firstRegister, true, false)
	linkLocal := &expr.Bitwise{SourceRegister: firstRegister, DestRegister: firstRegister, Len: 16, Mask: append([]byte{0xff, 0xc0}, make([]byte, 14)...), Xor: make([]byte, 16)}
	r.addRule(chain, v6, []expr.Any{source, linkLocal, compare(expr.CmpOpEq, append([]byte{0xfe, 0x80}, make([]byte, 14)...))}, accept())
	r.addRule(chain, v6, []expr.Any{source, compare(expr.CmpOpEq, make([]byte, 16))}, accept())
	r.addRule(chain, v6, []expr.Any{link, loadAddress(nextRegister, true, false), lookup(t.ports6, true)}, drop())
	return nil
}

// addInput takes questions for names, and answers to what the router asked
// itself; nothing comes in from outside.
func (r *router) addInput(table *nftables.Table) {
	chain := r.addBase(table, "input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	r.addRule(chain, established(), accept())
	r.addRule(chain, in("lo"), accept())
	r.addRule(chain, protocol(unix.IPPROTO_ICMPV6), accept())
	r.addRule(chain, in(bridgeName), protocol(unix.IPPROTO_ICMP), accept())
	for _, transport := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		r.addRule(chain, in(bridgeName), protocol(transport), toPort(53), accept())
	}
	r.addRule(chain, in(bridgeName), refuseTCP())
	r.addRule(chain, in(bridgeName), refuse())
	r.addRule(chain, drop())
}

// addForward decides about what leaves the run. What comes from outside belongs
// to a connection that a container has begun: that alone keeps other runs out,
// whatever the host's firewall carries.
func (r *router) addForward(t *routerTables, closed []netip.Addr) error {
	host := r.subnet.onUplink(placeHost)
	elements := hostElements(append([]netip.Addr{host.V4, host.V6}, closed...))
	var err error
	if t.host[0], err = r.addSet(t.inet, "host4", nftables.TypeIPAddr, elements[0]); err != nil {
		return err
	}
	if t.host[1], err = r.addSet(t.inet, "host6", nftables.TypeIP6Addr, elements[1]); err != nil {
		return err
	}
	chain := r.addBase(t.inet, "forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	r.addRule(chain, in(bridgeName), out(bridgeName), accept())
	t.egress.addCounting(r, chain)
	r.addRule(chain, established(), accept())
	r.addRule(chain, in(uplinkName), refuseTCP())
	r.addRule(chain, in(uplinkName), refuse())
	for _, gate := range []struct {
		set  *nftables.Set
		host netip.Addr
	}{{t.gates4, host.V4}, {t.gates6, host.V6}} {
		v6 := gate.host.Is6()
		isOpen := join(inSet(gate.set, v6, false), within(netip.PrefixFrom(gate.host, gate.host.BitLen()), true))
		t.egress.addHost(r, chain, v6, isOpen)
		r.addRule(chain, isOpen, accept())
	}
	// No list opens the host: without root, nothing behind the router would keep it closed.
	r.addRule(chain, inSet(t.host[0], false, true), goTo(t.refused))
	r.addRule(chain, inSet(t.host[1], true, true), goTo(t.refused))
	t.egress.addPinned(r, chain)
	for _, prefix := range egress.Closed() {
		r.addRule(chain, within(prefix, true), goTo(t.refused))
	}
	t.egress.addDispatch(r, chain)
	return nil
}

// hostElements are addresses as elements of the sets of routerTables.host.
func hostElements(addresses []netip.Addr) (elements [2][]nftables.SetElement) {
	for _, address := range addresses {
		i := index(address.Is6())
		elements[i] = append(elements[i], nftables.SetElement{Key: address.AsSlice()})
	}
	return elements
}

// closeHost closes addresses that the host has got since.
func (t *routerTables) closeHost(nft *nftables.Conn, addresses []netip.Addr) error {
	for i, elements := range hostElements(addresses) {
		for some := range slices.Chunk(elements, maxElements) {
			if err := nft.SetAddElements(t.host[i], some); err != nil {
				return err
			}
		}
	}
	return nft.Flush()
}

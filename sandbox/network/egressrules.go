package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/egress"
)

// What the rules say of a packet that they report.
const (
	reportClosed  = "closed"  // refused: its address is closed to all containers
	reportRefused = "refused" // refused: the step's list lacks it
	reportBegun   = "begun"   // the first of a connection that is let through
	reportHost    = "host"    // the first of a connection to the host itself, by its gateway address
)

// egressTables are the parts of the router's table that decide and count by
// step. A container is known by its address, which it cannot change: see
// addSpoofRules.
//
//	lists4    container → chain of its step: what may be reached
//	pins4     container → chain of its step: closed addresses that are open to it
//	audited4  containers whose connections are recorded
//	sent4     container . destination . protocol . port, with bytes
//	got4      the same of what came back
type egressTables struct {
	lists, pins, audited, sent, got [2]*nftables.Set // of IPv4 and of IPv6
	table                           *nftables.Table
	begun                           *nftables.Chain // reports a connection and lets it through

	bridge *nftables.Table // where traffic among containers is counted
	peers  *peerTables     // nil: no container is audited so far
}

// maxSeen bounds the destinations of a run that are counted.
const maxSeen = 1 << 16

func addressType(v6 bool) nftables.SetDatatype {
	if v6 {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

func index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

func (t *egressTables) add(r *router, table *nftables.Table) error {
	t.table = table
	t.begun = r.nft.AddChain(&nftables.Chain{Name: "begun", Table: table})
	r.addRule(t.begun, report(reportGroup, reportBegun))
	r.addRule(t.begun, accept())
	for _, v6 := range []bool{false, true} {
		i, suffix := index(v6), "4"
		if v6 {
			suffix = "6"
		}
		address := addressType(v6)
		seen := flowType(v6)
		t.lists[i] = &nftables.Set{Table: table, Name: "lists" + suffix, IsMap: true, KeyType: address, DataType: nftables.TypeVerdict}
		t.pins[i] = &nftables.Set{Table: table, Name: "pins" + suffix, IsMap: true, KeyType: address, DataType: nftables.TypeVerdict}
		t.audited[i] = &nftables.Set{Table: table, Name: "audited" + suffix, KeyType: address}
		t.sent[i] = &nftables.Set{Table: table, Name: "sent" + suffix, KeyType: seen, Concatenation: true, Dynamic: true, Size: maxSeen}
		t.got[i] = &nftables.Set{Table: table, Name: "got" + suffix, KeyType: seen, Concatenation: true, Dynamic: true, Size: maxSeen}
		for _, set := range []*nftables.Set{t.lists[i], t.pins[i], t.audited[i], t.sent[i], t.got[i]} {
			if err := r.insert(set, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// addCounting counts what goes out of audited containers and comes back.
func (t *egressTables) addCounting(r *router, chain *nftables.Chain) {
	for _, v6 := range []bool{false, true} {
		r.addRule(chain, inSet(t.audited[index(v6)], v6, false), count(t.sent[index(v6)], v6, false))
		r.addRule(chain, inSet(t.audited[index(v6)], v6, true), count(t.got[index(v6)], v6, true))
	}
}

// flowType is the type of keys that say whose connection it is, and to where:
// container . destination . protocol . port.
func flowType(v6 bool) nftables.SetDatatype {
	return nftables.MustConcatSetType(addressType(v6), addressType(v6), nftables.TypeInetProto, nftables.TypeInetService)
}

// flowRegister is where such a key begins: its parts are in registers of four
// bytes each.
const flowRegister = unix.NFT_REG32_00

// flow loads the key of a packet, or of the one that it goes back to.
func flow(v6, back bool) []expr.Any {
	width, port := uint32(1), uint32(2)
	if v6 {
		width = 4
	}
	if back {
		port = 0
	}
	return []expr.Any{
		loadAddress(flowRegister, v6, back), loadAddress(flowRegister+width, v6, !back),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: flowRegister + 2*width},
		loadPort(flowRegister+2*width+1, port),
	}
}

// count adds to the counter of a connection's destination.
func count(set *nftables.Set, v6, back bool) []expr.Any {
	return append(flow(v6, back), &expr.Dynset{
		SrcRegKey: flowRegister, SetName: set.Name, SetID: set.ID,
		Operation: unix.NFT_DYNSET_OP_ADD, Exprs: []expr.Any{&expr.Counter{}},
	})
}

// addHost reports a connection of an audited container to the host itself.
func (t *egressTables) addHost(r *router, chain *nftables.Chain, v6 bool, isToHost []expr.Any) {
	r.addRule(chain, inSet(t.audited[index(v6)], v6, false), isToHost, report(reportGroup, reportHost))
}

// addPinned lets through what is open to one container, though it is closed to all others.
func (t *egressTables) addPinned(r *router, chain *nftables.Chain) {
	for _, v6 := range []bool{false, true} {
		r.addRule(chain, dispatch(t.pins[index(v6)], v6, false))
	}
}

// addDispatch has the list of a container decide. Without a list everything is let through.
func (t *egressTables) addDispatch(r *router, chain *nftables.Chain) {
	for _, v6 := range []bool{false, true} {
		r.addRule(chain, dispatch(t.lists[index(v6)], v6, false))
		r.addRule(chain, inSet(t.audited[index(v6)], v6, false), goTo(t.begun))
	}
}

// stepRules are a container's own part of the router's table.
type stepRules struct {
	router  *router
	tables  *egressTables
	at      Addresses
	rules   egress.Rules
	chains  []*nftables.Chain
	sets    []*nftables.Set
	anyPort [2]*nftables.Set // addresses that names have: every port may be reached
	port    [2]*nftables.Set // address . port
}

// enforce sets a container's rules up, and the tables of the bridge with those of the first
// container. The container sends nothing before it returns.
func (t *egressTables) enforce(r *router, serial int, at Addresses, rules egress.Rules) (*stepRules, error) {
	s := &stepRules{router: r, tables: t, at: at, rules: rules}
	peers := t.peers
	if peers == nil {
		peers = &peerTables{}
		if err := peers.add(r, t.bridge); err != nil {
			return nil, err
		}
	}
	if rules.Mode == egress.Deny {
		if err := s.addLists(serial); err != nil {
			return nil, err
		}
	}
	for _, v6 := range []bool{false, true} {
		for _, set := range []*nftables.Set{t.audited[index(v6)], peers.audited[index(v6)]} {
			if err := r.nft.SetAddElements(set, s.self(v6)); err != nil {
				return nil, err
			}
		}
	}
	if err := r.nft.Flush(); err != nil {
		return nil, fmt.Errorf("set up the egress rules: %w", err)
	}
	t.peers = peers // now they exist
	return s, nil
}

func (s *stepRules) self(v6 bool) []nftables.SetElement {
	if v6 {
		return []nftables.SetElement{{Key: s.at.V6.AsSlice()}}
	}
	return []nftables.SetElement{{Key: s.at.V4.AsSlice()}}
}

func (s *stepRules) addLists(serial int) error {
	r := s.router
	pins := r.nft.AddChain(&nftables.Chain{Name: fmt.Sprintf("pins-%d", serial), Table: s.tables.table})
	list := r.nft.AddChain(&nftables.Chain{Name: fmt.Sprintf("list-%d", serial), Table: s.tables.table})
	s.chains = []*nftables.Chain{pins, list}
	for _, v6 := range []bool{false, true} {
		i, suffix := index(v6), fmt.Sprintf("%d-%d", 4+2*index(v6), serial)
		s.anyPort[i] = &nftables.Set{Table: s.tables.table, Name: "any" + suffix, KeyType: addressType(v6), HasTimeout: true}
		s.port[i] = &nftables.Set{Table: s.tables.table, Name: "port" + suffix, KeyType: nftables.MustConcatSetType(addressType(v6), nftables.TypeInetService), Concatenation: true, HasTimeout: true}
		s.sets = append(s.sets, s.anyPort[i], s.port[i])
		for _, set := range []*nftables.Set{s.anyPort[i], s.port[i]} {
			if err := r.insert(set, nil); err != nil {
				return err
			}
		}
		r.addRule(list, inSet(s.anyPort[i], v6, true), goTo(s.tables.begun))
		for _, transport := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			width := uint32(1 + 3*i)
			r.addRule(list, family(v6), protocol(transport), []expr.Any{
				loadAddress(unix.NFT_REG32_00, v6, true), loadPort(unix.NFT_REG32_00+width, 2),
				&expr.Lookup{SourceRegister: unix.NFT_REG32_00, SetName: s.port[i].Name, SetID: s.port[i].ID},
			}, goTo(s.tables.begun))
		}
	}
	if err := s.addPrefixes(list, pins); err != nil {
		return err
	}
	r.addRule(list, report(reportGroup, reportRefused))
	r.addRule(list, refuseTCP())
	r.addRule(list, refuse())
	for _, v6 := range []bool{false, true} {
		for set, chain := range map[*nftables.Set]*nftables.Chain{s.tables.lists[index(v6)]: list, s.tables.pins[index(v6)]: pins} {
			element := s.self(v6)
			element[0].VerdictData = &expr.Verdict{Kind: expr.VerdictJump, Chain: chain.Name}
			if err := r.nft.SetAddElements(set, element); err != nil {
				return err
			}
		}
	}
	return nil
}

// addPrefixes adds the addresses and networks of the list, in as many transactions as they need.
func (s *stepRules) addPrefixes(list, pins *nftables.Chain) error {
	const most = maxMessages / 4 // that are behind one entry: two transports, in two chains
	prefixes := slices.DeleteFunc(slices.Clone(s.rules.List), func(rule egress.Rule) bool { return rule.Name != "" })
	for some := range slices.Chunk(prefixes, most) {
		for _, rule := range some {
			s.addPrefix(list, rule)
			if rule.Prefix.IsSingleIP() {
				s.addPrefix(pins, rule)
			}
		}
		if err := s.router.nft.Flush(); err != nil {
			return fmt.Errorf("set up the egress rules: %w", err)
		}
	}
	return nil
}

func (s *stepRules) addPrefix(chain *nftables.Chain, rule egress.Rule) {
	to := within(rule.Prefix, true)
	if rule.Port == 0 {
		s.router.addRule(chain, to, goTo(s.tables.begun))
		return
	}
	for _, transport := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		s.router.addRule(chain, to, protocol(transport), toPort(rule.Port), goTo(s.tables.begun))
	}
}

// allow opens addresses that a name of rules has, for a time. What has been
// allowed before is allowed for the new time: added, deleted and added again,
// for a transaction that deletes what is not there fails.
func (s *stepRules) allow(rules egress.List, addresses []netip.Addr, forTime time.Duration) error {
	type opened struct {
		set *nftables.Set
		key string
	}
	known := map[opened]bool{}
	elements := map[*nftables.Set][]nftables.SetElement{}
	for _, address := range addresses {
		i := index(address.Is6())
		for _, rule := range rules {
			set, key := s.anyPort[i], address.AsSlice()
			if rule.Port != 0 {
				set = s.port[i]
				key = append(key, append(binaryutil.BigEndian.PutUint16(rule.Port), 0, 0)...)
			}
			if is := (opened{set, string(key)}); !known[is] {
				known[is] = true
				elements[set] = append(elements[set], nftables.SetElement{Key: key, Timeout: forTime})
			}
		}
	}
	nft := s.router.nft
	for set, all := range elements {
		for some := range slices.Chunk(all, maxElements) {
			if err := errors.Join(nft.SetAddElements(set, some), nft.SetDeleteElements(set, withoutTimeout(some)), nft.SetAddElements(set, some)); err != nil {
				return err
			}
			if err := nft.Flush(); err != nil {
				return fmt.Errorf("allow the addresses of a name: %w", err)
			}
		}
	}
	return nil
}

func withoutTimeout(elements []nftables.SetElement) []nftables.SetElement {
	keys := make([]nftables.SetElement, len(elements))
	for i := range elements {
		keys[i].Key = elements[i].Key
	}
	return keys
}

// remove takes the container's rules away, in one transaction.
func (s *stepRules) remove() error {
	for _, v6 := range []bool{false, true} {
		sets := []*nftables.Set{s.tables.audited[index(v6)], s.tables.peers.audited[index(v6)]}
		if s.chains != nil {
			sets = append(sets, s.tables.lists[index(v6)], s.tables.pins[index(v6)])
		}
		for _, set := range sets {
			if err := s.router.nft.SetDeleteElements(set, s.self(v6)); err != nil {
				return err
			}
		}
	}
	for _, chain := range s.chains {
		s.router.nft.FlushChain(chain)
	}
	for _, chain := range s.chains {
		s.router.nft.DelChain(chain)
	}
	for _, set := range s.sets {
		s.router.nft.DelSet(set)
	}
	if err := s.router.nft.Flush(); err != nil {
		return fmt.Errorf("take the egress rules away: %w", err)
	}
	return nil
}

// traffic are the bytes between a container and one destination.
type traffic struct {
	to        netip.AddrPort
	protocol  byte
	sent, got uint64
}

// counted reads what a container has sent and got so far. Whoever has ended is
// forgotten: its address will be another's.
func (s *stepRules) counted(forget bool) ([]traffic, error) {
	type destination struct {
		to       netip.AddrPort
		protocol byte
	}
	all := map[destination]*traffic{}
	add := func(set *nftables.Set, v6 bool, bytes func(*traffic) *uint64) error {
		elements, err := s.router.nft.GetSetElements(set)
		if err != nil {
			return fmt.Errorf("read the egress counters: %w", err)
		}
		var own []nftables.SetElement
		for _, e := range elements {
			from, to, number := seenKey(e.Key, v6)
			if !s.at.has(from) || e.Counter == nil {
				continue
			}
			own = append(own, nftables.SetElement{Key: e.Key})
			key := destination{to, number}
			if all[key] == nil {
				all[key] = &traffic{to: to, protocol: number}
			}
			*bytes(all[key]) += e.Counter.Bytes
		}
		if !forget {
			return nil
		}
		return deleteElements(s.router.nft, set, own)
	}
	sent, got := func(t *traffic) *uint64 { return &t.sent }, func(t *traffic) *uint64 { return &t.got }
	for _, v6 := range []bool{false, true} {
		i, peers := index(v6), s.tables.peers
		for _, set := range []*nftables.Set{s.tables.sent[i], peers.sent[i]} {
			if err := add(set, v6, sent); err != nil {
				return nil, err
			}
		}
		for _, set := range []*nftables.Set{s.tables.got[i], peers.got[i]} {
			if err := add(set, v6, got); err != nil {
				return nil, err
			}
		}
	}
	var list []traffic
	for _, t := range all {
		list = append(list, *t)
	}
	return list, nil
}

// seenKey takes a key of sent and got apart.
func seenKey(key []byte, v6 bool) (own netip.Addr, to netip.AddrPort, number byte) {
	width := 4 + 12*index(v6)
	if len(key) < 2*width+8 {
		return own, to, 0
	}
	own, _ = netip.AddrFromSlice(key[:width])
	address, _ := netip.AddrFromSlice(key[width : 2*width])
	rest := key[2*width:]
	return own, netip.AddrPortFrom(address, uint16(rest[4])<<8|uint16(rest[5])), rest[0]
}

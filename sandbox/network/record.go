package network

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/egress"
)

// Bounds of what is noted of one container.
const (
	maxRefusals    = 100   // that are told
	maxConnections = 10000 // destinations
	maxNames       = 10000 // names that were asked for
	maxShared      = 50    // other names of one address
	maxBelow       = 1000  // different names below a *.DOMAIN of its list
	maxBelowLength = 120   // bytes of such a name: more is a message to whoever runs the name server
)

// defaultAllowance is how much longer than its name server says an address may
// be reached: programs resolve a name, and connect a while later.
const defaultAllowance = 30 * time.Second

// Refusal is what egress rules have refused.
type Refusal struct {
	Name     string         // that was asked for; "": it is about a connection
	To       netip.AddrPort // of a connection; port 0: of a protocol without ports
	Protocol string         // such as tcp
	Why      string
	Allow    string // the entry for the list that would allow it; "": none does
}

// Kind says where a connection leads.
type Kind string

// Kinds of connections. The empty one is to the world.
const (
	ToWorld Kind = ""
	ToHost  Kind = "host"    // the host itself
	ToPeer  Kind = "service" // another container of the run
)

// Connection is a destination that a container has had connections with.
type Connection struct {
	Kind        Kind
	Name        string   // that led there, or of the container; "": none was asked for
	Also        []string // other names that were asked for and have the address
	Address     netip.Addr
	Port        uint16 // 0: of a protocol without ports
	Protocol    string
	Sent, Got   uint64    // bytes, with the headers of IP
	First, Last time.Time // when connections were begun
	Refused     bool
}

// record is what is known of a container's connections.
type record struct {
	member Member
	lost   func() // is called when a connection is not noted: there are maxConnections

	mu          sync.Mutex
	names       map[netip.Addr][]string // that have an address; the one that was asked for last is the first
	below       map[string]bool
	connections map[destination]*Connection
	told        map[string]bool // refusals

	telling sync.Mutex // held while somebody is told
	closed  bool       // guarded by telling: nobody is told any more
}

// close waits until nobody is being told, and is the end of it.
func (r *record) close() {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.closed = true
}

type destination struct {
	to       netip.AddrPort
	protocol byte
	refused  bool
}

// kindOf says where a reported packet leads. What is closed to all is the host's
// own, or never reached.
func kindOf(p packet) Kind {
	switch p.kind {
	case reportPeer:
		return ToPeer
	case reportHost:
		return ToHost
	case reportClosed:
		if !isClosedByItself(p.to.Addr()) {
			return ToHost
		}
	}
	return ToWorld
}

// isClosedByItself tells closed addresses from those of the host, which no list opens.
func isClosedByItself(address netip.Addr) bool {
	return egress.IsClosed(netip.PrefixFrom(address, address.BitLen()))
}

func newRecord(m Member, lost func()) *record {
	return &record{member: m, lost: lost, names: map[netip.Addr][]string{}, below: map[string]bool{}, connections: map[destination]*Connection{}, told: map[string]bool{}}
}

// limited reports whether the container reaches only what its list has.
func (e *Endpoint) limited() bool { return e.record.member.Egress.Mode == egress.Deny }

// mayAsk are the rules that a name has, and why it may not be asked for; "" is
// that it may.
func (e *Endpoint) mayAsk(name string) (rules egress.List, why string) {
	if !e.limited() {
		return nil, ""
	}
	rules, onlyBelow := e.record.member.Egress.List.OfName(name)
	if len(rules) == 0 {
		return nil, "the list lacks it"
	}
	if !onlyBelow {
		return rules, ""
	}
	if len(name) > maxBelowLength {
		return nil, "names below a domain of the list may have " + strconv.Itoa(maxBelowLength) + " characters: longer ones carry data out"
	}
	e.record.mu.Lock()
	defer e.record.mu.Unlock()
	if !e.record.below[name] && len(e.record.below) >= maxBelow {
		return nil, "more than " + strconv.Itoa(maxBelow) + " names below domains of the list: so many carry data out"
	}
	e.record.below[name] = true
	return rules, ""
}

// learn notes the addresses of a name, and opens them to a container that
// reaches nothing else.
func (e *Endpoint) learn(name string, rules egress.List, answer *dns.Msg) error {
	if e.record.member.Egress.Mode == egress.Open {
		return nil
	}
	var addresses []netip.Addr
	ttl := uint32(0)
	for _, record := range answer.Answer {
		var raw []byte
		switch record := record.(type) {
		case *dns.A:
			raw = record.A.To4()
		case *dns.AAAA:
			raw = record.AAAA.To16()
		default:
			continue
		}
		if address, ok := netip.AddrFromSlice(raw); ok {
			addresses, ttl = append(addresses, address), max(ttl, record.Header().Ttl)
		}
	}
	e.record.note(name, addresses)
	if !e.limited() || len(addresses) == 0 {
		return nil
	}
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	if e.rules == nil {
		return nil // the container has left
	}
	return e.rules.allow(rules, addresses, time.Duration(min(ttl, 24*3600))*time.Second+cmp.Or(e.network.o.Allowance, defaultAllowance))
}

func (r *record) note(name string, addresses []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, address := range addresses {
		names, known := r.names[address]
		if !known && len(r.names) >= maxNames {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(names), func(other string) bool { return other == name })
		r.names[address] = append([]string{name}, others[:min(len(others), maxShared)]...)
	}
}

// refusedName tells of a name that may not be asked for.
func (e *Endpoint) refusedName(name, why string) {
	e.record.tell(Refusal{Name: name, Why: why, Allow: name}, name)
}

// receive takes what the router's rules report.
func (n *Bridged) receive(p packet) {
	e := n.client(p.from)
	if e == nil {
		return
	}
	peer := ""
	if p.kind == reportPeer {
		peer, _ = n.nameOf(p.to.Addr())
	}
	e.record.receive(p, peer)
}

func (o *Options) warnOfLost() {
	if o.Warn != nil {
		o.Warn("more connections began than could be recorded: the run's records of connections are incomplete (egress lists were enforced all the same)")
	}
}

// receive takes a packet, to a container of a name or to the world.
func (r *record) receive(p packet, peer string) {
	isRefused := p.kind == reportClosed || p.kind == reportRefused
	name := r.begun(p, peer, isRefused)
	if !isRefused {
		return
	}
	refusal := Refusal{To: p.to, Protocol: protocolName(p.protocol)}
	rule := egress.Rule{Prefix: netip.PrefixFrom(p.to.Addr(), p.to.Addr().BitLen()), Port: p.to.Port()}
	switch {
	case p.kind == reportClosed:
		refusal.Why = "the host's own addresses, link-local and metadata addresses are closed"
	case name != "":
		rule = egress.Rule{Name: name, Port: p.to.Port()}
		refusal.Why = "an address of " + name + ", for which the list lacks the port or whose answer has expired"
	default:
		refusal.Why = "no name asked for it"
	}
	if p.kind != reportClosed || isClosedByItself(p.to.Addr()) {
		refusal.Allow = rule.String()
	}
	r.tell(refusal, p.to.String()+protocolName(p.protocol))
}

// begun notes the connection that a packet begins or would begin, and returns the name that led there.
func (r *record) begun(p packet, peer string, isRefused bool) (name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, now := destination{p.to, p.protocol, isRefused}, time.Now()
	names := r.names[p.to.Addr()]
	if peer != "" || len(names) == 0 {
		names = []string{peer}
	}
	name = names[0]
	c := r.connections[key]
	switch {
	case c != nil || r.member.Egress.Mode == egress.Open:
	case len(r.connections) >= maxConnections:
		r.lost()
	default:
		c = &Connection{Kind: kindOf(p), Name: name, Address: p.to.Addr(), Port: p.to.Port(), Protocol: protocolName(p.protocol), First: now, Refused: isRefused}
		r.connections[key] = c
	}
	if c != nil {
		c.Last, c.Name, c.Also = now, name, names[1:]
	}
	return name
}

// tell tells of a refusal once, and of no more than maxRefusals.
func (r *record) tell(refusal Refusal, key string) {
	r.mu.Lock()
	told := r.told[key] || len(r.told) >= maxRefusals
	if !told {
		r.told[key] = true
	}
	r.mu.Unlock()
	if told || r.member.Refused == nil {
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	if !r.closed {
		r.member.Refused(refusal)
	}
}

// count notes the bytes of the container's connections so far.
func (e *Endpoint) count(forget bool) error {
	list, err := e.rules.counted(forget)
	e.record.mu.Lock()
	defer e.record.mu.Unlock()
	for _, t := range list {
		if c := e.record.connections[destination{t.to, t.protocol, false}]; c != nil {
			c.Sent, c.Got = t.sent, t.got
		}
	}
	return err
}

// Connections are those that the container has had so far, if it has egress rules: with the world,
// the host and other containers of the run. Whatever was refused so far has been told before it
// returns.
func (e *Endpoint) Connections() ([]Connection, error) {
	n := e.network
	n.mu.Lock()
	reporter := n.reporter
	n.mu.Unlock()
	err := reporter.drain()
	n.mu.Lock()
	if e.rules != nil && n.router != nil {
		err = errors.Join(err, e.count(false))
	}
	n.mu.Unlock()
	e.record.mu.Lock()
	defer e.record.mu.Unlock()
	var list []Connection
	for _, c := range e.record.connections {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Connection) int {
		return cmp.Or(a.First.Compare(b.First), a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port))
	})
	return list, err
}

func protocolName(number byte) string {
	switch number {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return "icmp"
	}
	return "protocol " + strconv.Itoa(int(number))
}

package network

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// reportPeer is what the bridge's rules say of the first packet of a connection
// between two containers of the run.
const reportPeer = "peer"

// peerTables count, on the bridge, what audited containers have to do with
// others of their run. Nothing is refused there. Bridges have no connections
// that are tracked: a TCP connection begins with a SYN, one of UDP with a packet
// that answers none.
//
//	audited4  containers whose connections are recorded
//	known4    container . peer . protocol . port of connections that have begun
//	sent4     the same of audited containers, with bytes
//	got4      the same of what came back
type peerTables struct {
	audited, known, sent, got [2]*nftables.Set // of IPv4 and of IPv6
}

// add makes the sets and rules, of which a run without egress rules has none.
func (t *peerTables) add(r *router, table *nftables.Table) error {
	for _, v6 := range []bool{false, true} {
		i, suffix := index(v6), "4"
		if v6 {
			suffix = "6"
		}
		flow := flowType(v6)
		t.audited[i] = &nftables.Set{Table: table, Name: "audited" + suffix, KeyType: addressType(v6)}
		t.known[i] = &nftables.Set{Table: table, Name: "known" + suffix, KeyType: flow, Concatenation: true, Dynamic: true, Size: maxSeen}
		t.sent[i] = &nftables.Set{Table: table, Name: "sent" + suffix, KeyType: flow, Concatenation: true, Dynamic: true, Size: maxSeen}
		t.got[i] = &nftables.Set{Table: table, Name: "got" + suffix, KeyType: flow, Concatenation: true, Dynamic: true, Size: maxSeen}
		for _, set := range []*nftables.Set{t.audited[i], t.known[i], t.sent[i], t.got[i]} {
			if err := r.insert(set, nil); err != nil {
				return err
			}
		}
	}
	chain := r.addBase(table, "forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	for _, v6 := range []bool{false, true} {
		t.addRules(r, chain, v6)
	}
	return nil
}

func (t *peerTables) addRules(r *router, chain *nftables.Chain, v6 bool) {
	i, number := index(v6), uint16(unix.ETH_P_IP)
	if v6 {
		number = unix.ETH_P_IPV6
	}
	version := etherType(number)
	audited := func(destination bool) []expr.Any {
		return []expr.Any{loadAddress(firstRegister, v6, destination), lookup(t.audited[i], false)}
	}
	known := func(back, invert bool) []expr.Any {
		return append(flow(v6, back), &expr.Lookup{SourceRegister: flowRegister, SetName: t.known[i].Name, SetID: t.known[i].ID, Invert: invert})
	}
	learn := append(flow(v6, false), &expr.Dynset{SrcRegKey: flowRegister, SetName: t.known[i].Name, SetID: t.known[i].ID, Operation: unix.NFT_DYNSET_OP_ADD})
	tcp, udp := protocol(unix.IPPROTO_TCP), protocol(unix.IPPROTO_UDP)
	r.addRule(chain, version, audited(false), tcp, beginsTCP(), report(reportGroup, reportPeer), learn)
	r.addRule(chain, version, audited(false), udp, known(false, true), known(true, true), report(reportGroup, reportPeer))
	r.addRule(chain, version, udp, known(true, true), learn)
	r.addRule(chain, version, audited(false), known(false, false), count(t.sent[i], v6, false))
	r.addRule(chain, version, audited(true), known(true, false), count(t.got[i], v6, true))
}

// forget deletes the connections of a container that has ended: its address may become another
// container's, whose connections would then count as begun.
func (t *peerTables) forget(r *router, ended Addresses) error {
	if t == nil {
		return nil
	}
	for _, v6 := range []bool{false, true} {
		known := t.known[index(v6)]
		elements, err := r.nft.GetSetElements(known)
		if err != nil {
			return fmt.Errorf("read the connections among containers: %w", err)
		}
		var gone []nftables.SetElement
		for _, e := range elements {
			from, to, _ := seenKey(e.Key, v6)
			if ended.has(from) || ended.has(to.Addr()) {
				gone = append(gone, nftables.SetElement{Key: e.Key})
			}
		}
		if err := deleteElements(r.nft, known, gone); err != nil {
			return fmt.Errorf("forget the connections of a container: %w", err)
		}
	}
	return nil
}

// tcp flags & (syn | ack) == syn, behind protocol
func beginsTCP() []expr.Any {
	const flagsAt, syn, ack = 13, 0x02, 0x10
	return []expr.Any{
		&expr.Payload{DestRegister: firstRegister, Base: expr.PayloadBaseTransportHeader, Offset: flagsAt, Len: 1},
		&expr.Bitwise{SourceRegister: firstRegister, DestRegister: firstRegister, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		compare(expr.CmpOpEq, []byte{syn}),
	}
}

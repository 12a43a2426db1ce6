package network

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The expressions of nftables rules, as nft(8) writes them. Each returns the
// instructions of the kernel's filter that stand for it.

// firstRegister and nextRegister hold 16 bytes each.
const (
	firstRegister = 1
	nextRegister  = 2
)

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

func compare(op expr.CmpOp, value []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: firstRegister, Data: value}
}

// linkName is a link's name as rules compare it: with zeros behind it.
func linkName(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

// iifname NAME, oifname NAME
func in(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: firstRegister}, compare(expr.CmpOpEq, linkName(name))}
}

func out(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: firstRegister}, compare(expr.CmpOpEq, linkName(name))}
}

func outOther(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: firstRegister}, compare(expr.CmpOpNeq, linkName(name))}
}

// oifname PREFIX*
func outPrefix(prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: firstRegister}, compare(expr.CmpOpEq, []byte(prefix))}
}

// meta nfproto ipv4, or ipv6
func family(v6 bool) []expr.Any {
	number := byte(unix.NFPROTO_IPV4)
	if v6 {
		number = unix.NFPROTO_IPV6
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: firstRegister}, compare(expr.CmpOpEq, []byte{number})}
}

// etherType matches the protocol of a frame on a bridge.
func etherType(number uint16) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: firstRegister}, compare(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(number))}
}

// meta l4proto NUMBER
func protocol(number byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister}, compare(expr.CmpOpEq, []byte{number})}
}

// th dport NUMBER, behind protocol
func toPort(number uint16) []expr.Any {
	return []expr.Any{loadPort(firstRegister, 2), compare(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(number))}
}

func loadPort(register, offset uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}
}

// loadAddress loads the source or destination of a packet.
func loadAddress(register uint32, v6, destination bool) expr.Any {
	p := &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}
	if v6 {
		p.Offset, p.Len = 8, 16
	}
	if destination {
		p.Offset += p.Len
	}
	return p
}

// ip saddr PREFIX, ip daddr PREFIX and the same of ip6
func within(prefix netip.Prefix, destination bool) []expr.Any {
	v6 := prefix.Addr().Is6()
	length := uint32(prefix.Addr().BitLen() / 8)
	mask := make([]byte, length)
	for i := range prefix.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return join(family(v6), []expr.Any{
		loadAddress(firstRegister, v6, destination),
		&expr.Bitwise{SourceRegister: firstRegister, DestRegister: firstRegister, Len: length, Mask: mask, Xor: make([]byte, length)},
		compare(expr.CmpOpEq, prefix.Masked().Addr().AsSlice()),
	})
}

// ip saddr @SET and the like
func inSet(set *nftables.Set, v6, destination bool) []expr.Any {
	return join(family(v6), []expr.Any{loadAddress(firstRegister, v6, destination), lookup(set, false)})
}

func lookup(set *nftables.Set, invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: firstRegister, SetName: set.Name, SetID: set.ID, Invert: invert}
}

// ip saddr vmap @MAP and the like
func dispatch(set *nftables.Set, v6, destination bool) []expr.Any {
	return join(family(v6), []expr.Any{
		loadAddress(firstRegister, v6, destination),
		&expr.Lookup{SourceRegister: firstRegister, SetName: set.Name, SetID: set.ID, IsDestRegSet: true},
	})
}

// ct state established,related
func established() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: firstRegister},
		&expr.Bitwise{
			SourceRegister: firstRegister, DestRegister: firstRegister, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
		},
		compare(expr.CmpOpNeq, make([]byte, 4)),
	}
}

func accept() []expr.Any { return verdict(expr.VerdictAccept, "") }
func drop() []expr.Any   { return verdict(expr.VerdictDrop, "") }

func goTo(chain *nftables.Chain) []expr.Any { return verdict(expr.VerdictGoto, chain.Name) }

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }

// report sends the beginning of a packet to whoever reads group.
func report(group uint16, prefix string) []expr.Any {
	return []expr.Any{&expr.Log{
		Key:   1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN,
		Group: group, Snaplen: reportBytes, Data: []byte(prefix),
	}}
}

// reportBytes hold the headers of every packet that is reported.
const reportBytes = 128

// refuse answers at once: whoever is refused does not wait for a timeout.
func refuseTCP() []expr.Any {
	return join(protocol(unix.IPPROTO_TCP), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
}

func refuse() []expr.Any {
	return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
}

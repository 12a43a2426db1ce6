package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// packet is what a rule has reported.
type packet struct {
	kind     string // reportClosed, reportRefused or reportBegun
	from     netip.Addr
	to       netip.AddrPort // port 0: of a protocol without ports
	protocol byte
}

// Constants of linux/netfilter/nfnetlink_log.h.
const (
	ulogConfig = unix.NFNL_SUBSYS_ULOG<<8 | 1
	ulogPacket = unix.NFNL_SUBSYS_ULOG << 8

	ulogAttrCommand   = 1
	ulogAttrMode      = 2
	ulogAttrThreshold = 5
	ulogCommandBind   = 1
	ulogCopyPacket    = 2

	ulogAttrPayload = 9
	ulogAttrPrefix  = 10
)

// reporter reads what the rules of a router report, until it is closed.
type reporter struct {
	conn    *netlink.Conn
	reading crash.Group
}

// startReporter begins to hand packets to receive, one at a time.
func startReporter(namespace *os.File, receive func(packet)) (*reporter, error) {
	r := &reporter{}
	err := inside(namespace, func() (err error) {
		r.conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen to the router's filter: %w", err)
	}
	if err := r.bind(); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to the router's filter: %w", err), r.conn.Close())
	}
	r.begin(receive)
	return r, nil
}

func (r *reporter) begin(receive func(packet)) { r.reading.Go(func() { r.read(receive) }) }

// bind asks for the packets of reportGroup, every one at once.
func (r *reporter) bind() error {
	for _, attribute := range []netlink.Attribute{
		{Type: ulogAttrCommand, Data: []byte{ulogCommandBind}},
		{Type: ulogAttrMode, Data: append(binary.BigEndian.AppendUint32(nil, reportBytes), ulogCopyPacket, 0)},
		{Type: ulogAttrThreshold, Data: binary.BigEndian.AppendUint32(nil, 1)},
	} {
		data, err := netlink.MarshalAttributes([]netlink.Attribute{attribute})
		if err != nil {
			return err
		}
		header := []byte{unix.AF_UNSPEC, 0, 0, reportGroup}
		message := netlink.Message{Header: netlink.Header{Type: ulogConfig, Flags: netlink.Request | netlink.Acknowledge}, Data: append(header, data...)}
		if _, err := r.conn.Execute(message); err != nil {
			return err
		}
	}
	// A burst is not to be lost; without the right to more it gets the usual room.
	_ = r.conn.SetReadBuffer(1 << 20)
	return nil
}

func (r *reporter) read(receive func(packet)) {
	for {
		messages, err := r.conn.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			continue // more came than was read; connections are refused all the same
		}
		if err != nil {
			return // it is closed
		}
		for _, m := range messages {
			if m.Header.Type != ulogPacket || len(m.Data) < 4 {
				continue
			}
			if p, ok := readPacket(m.Data[4:]); ok {
				receive(p)
			}
		}
	}
}

func readPacket(data []byte) (p packet, ok bool) {
	attributes, err := netlink.UnmarshalAttributes(data)
	if err != nil {
		return p, false
	}
	for _, a := range attributes {
		switch a.Type {
		case ulogAttrPrefix:
			p.kind = strings.TrimRight(string(a.Data), "\x00")
		case ulogAttrPayload:
			ok = p.readHeaders(a.Data)
		}
	}
	return p, ok
}

// readHeaders reads the headers of an IPv4 or IPv6 packet. Extension headers of
// IPv6 are not followed: such a packet is told without its port.
func (p *packet) readHeaders(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	var to netip.Addr
	var rest []byte
	switch data[0] >> 4 {
	case 4:
		length := int(data[0]&15) * 4
		if len(data) < max(20, length) {
			return false
		}
		p.protocol = data[9]
		p.from, to = netip.AddrFrom4([4]byte(data[12:16])), netip.AddrFrom4([4]byte(data[16:20]))
		rest = data[length:]
	case 6:
		if len(data) < 40 {
			return false
		}
		p.protocol = data[6]
		p.from, to = netip.AddrFrom16([16]byte(data[8:24])), netip.AddrFrom16([16]byte(data[24:40]))
		rest = data[40:]
	default:
		return false
	}
	var port uint16
	if (p.protocol == unix.IPPROTO_TCP || p.protocol == unix.IPPROTO_UDP) && len(rest) >= 4 {
		port = binary.BigEndian.Uint16(rest[2:4])
	}
	p.to = netip.AddrPortFrom(to, port)
	return true
}

// close ends the reading.
func (r *reporter) close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.conn.Close(), r.reading.Wait())
}

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"

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
	ulogAttrSize      = 3
	ulogAttrThreshold = 5
	ulogCommandBind   = 1
	ulogCopyPacket    = 2

	ulogAttrPayload = 9
	ulogAttrPrefix  = 10
)

// reporter reads what the rules of a router report, until it is closed.
type reporter struct {
	conn    *netlink.Conn // nil: in tests
	socket  syscall.RawConn
	receive func(packet) // is called with one packet at a time
	lost    func()       // is called when packets were not reported, for want of room

	turn    sync.Mutex // held from the read of a message until its packets were received
	buffer  [4096]byte // guarded by turn; it holds any message, whose packet is cut at reportBytes
	reading crash.Group
}

// startReporter begins to hand packets to receive, one at a time, and to call lost when some were lost.
func startReporter(namespace *os.File, receive func(packet), lost func()) (*reporter, error) {
	r := &reporter{receive: receive, lost: lost}
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
	r.begin()
	return r, nil
}

func (r *reporter) begin() { r.reading.Go(r.read) }

// bind asks for the packets of reportGroup, every one at once and in a message no larger than it needs:
// the kernel counts the room that messages could have against that of the socket.
func (r *reporter) bind() (err error) {
	for _, attribute := range []netlink.Attribute{
		{Type: ulogAttrCommand, Data: []byte{ulogCommandBind}},
		{Type: ulogAttrMode, Data: append(binary.BigEndian.AppendUint32(nil, reportBytes), ulogCopyPacket, 0)},
		{Type: ulogAttrSize, Data: binary.BigEndian.AppendUint32(nil, 0)},
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
	_ = r.conn.SetReadBuffer(reportRoom)
	r.socket, err = r.conn.SyscallConn()
	return err
}

// reportRoom is the room for reports that were not read so far, in bytes. The kernel grants twice as
// much, of which a report takes messageRoom or more.
const (
	reportRoom  = 8 << 20
	messageRoom = 512
)

// read hands packets on until the socket is closed.
func (r *reporter) read() {
	_ = r.socket.Read(func(fd uintptr) bool { // is called again when there is something to read
		var err error
		for err == nil {
			err = r.next(int(fd))
		}
		return !errors.Is(err, unix.EAGAIN)
	})
}

// drain returns when the packets that were reported before the call have been received. The kernel puts
// a report on the socket before it answers or forwards the packet, so these are all packets whose
// fate a container can know.
func (r *reporter) drain() error {
	if r == nil {
		return nil
	}
	var failed error
	err := r.socket.Control(func(fd uintptr) {
		// Other containers may report faster than this reads: no more than the socket holds is waited for.
		for range 2 * reportRoom / messageRoom {
			err := r.next(int(fd))
			if errors.Is(err, unix.EAGAIN) {
				return
			}
			if err != nil {
				failed = err
				return
			}
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("read what the router's filter reports: %w", err)
	}
	return nil
}

// next hands on the packets of one message. unix.EAGAIN: there is none.
func (r *reporter) next(fd int) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	size, _, err := unix.Recvfrom(fd, r.buffer[:], unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.ENOBUFS):
		r.lost()
		return nil
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return err
	}
	messages, err := syscall.ParseNetlinkMessage(r.buffer[:size])
	if err != nil {
		return err
	}
	for _, m := range messages {
		if m.Header.Type != ulogPacket || len(m.Data) < 4 {
			continue
		}
		if p, ok := readPacket(m.Data[4:]); ok {
			r.receive(p)
		}
	}
	return nil
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

package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Listener is a TCP socket that accepts connections, or a UDP socket that takes packets of anybody.
type Listener struct {
	Address netip.AddrPort
	UID     uint32 // of its user
	Inode   uint32 // by which /proc/PID/fd names it
}

// Constants of linux/sock_diag.h, inet_diag.h and net/tcp_states.h.
const (
	sockDiagByFamily  = 20
	tcpListen         = 10
	tcpClose          = 7 // of a UDP socket: it is not connected
	inetDiagReqBytes  = 56
	inetDiagMsgBytes  = 72
	inetDiagSourceAt  = 8
	inetDiagUIDAt     = 64
	inetDiagInodeAt   = 68
	inetDiagPortAt    = 4
	inetDiagStatesPos = 4
)

// Listening lists the TCP sockets that listen in the network namespace of the
// calling thread; see sock_diag(7).
func Listening() ([]Listener, error) { return listeners(unix.IPPROTO_TCP, tcpListen) }

// listeners lists the sockets of a protocol that are in one state.
func listeners(protocol byte, state int) ([]Listener, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("list listening sockets: %w", err)
	}
	defer conn.Close()
	var all []Listener
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := make([]byte, inetDiagReqBytes)
		request[0], request[1] = family, protocol
		binary.NativeEndian.PutUint32(request[inetDiagStatesPos:], 1<<state)
		messages, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump}, Data: request,
		})
		if err != nil {
			return nil, fmt.Errorf("list listening sockets: %w", err)
		}
		for _, m := range messages {
			if len(m.Data) >= inetDiagMsgBytes {
				all = append(all, readListener(m.Data))
			}
		}
	}
	return all, nil
}

func readListener(data []byte) Listener {
	source := data[inetDiagSourceAt : inetDiagSourceAt+16]
	if data[0] == unix.AF_INET {
		source = source[:4]
	}
	address, _ := netip.AddrFromSlice(source)
	return Listener{
		Address: netip.AddrPortFrom(address.Unmap(), binary.BigEndian.Uint16(data[inetDiagPortAt:])),
		UID:     binary.NativeEndian.Uint32(data[inetDiagUIDAt:]),
		Inode:   binary.NativeEndian.Uint32(data[inetDiagInodeAt:]),
	}
}

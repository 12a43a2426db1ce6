package network

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// reported is a reporter that nobody reads so far, with reports on its socket about connections to the
// ports from 1 to last.
func reported(t *testing.T, last uint16, receive func(packet)) (*reporter, *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket, kernel := os.NewFile(uintptr(pair[0]), "reports"), os.NewFile(uintptr(pair[1]), "kernel")
	t.Cleanup(func() { _, _ = socket.Close(), kernel.Close() })
	for port := range last {
		segment := binary.BigEndian.AppendUint16([]byte{0, 0}, port+1)
		ip := append([]byte{0x45, 9: unix.IPPROTO_TCP, 12: 10, 15: 2, 16: 203, 19: 7}, segment...)
		attributes, err := netlink.MarshalAttributes([]netlink.Attribute{
			{Type: ulogAttrPrefix, Data: []byte(reportRefused + "\x00")},
			{Type: ulogAttrPayload, Data: ip},
		})
		if err != nil {
			t.Fatal(err)
		}
		data := append([]byte{unix.AF_INET, 0, 0, reportGroup}, attributes...)
		header := netlink.Header{Type: ulogPacket, Length: uint32(unix.SizeofNlMsghdr + len(data))}
		message, err := (&netlink.Message{Header: header, Data: data}).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kernel.Write(message); err != nil {
			t.Fatal(err)
		}
	}
	r := &reporter{receive: receive}
	if r.socket, err = socket.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return r, socket
}

func TestDrainReturnsWhenAllThatWasReportedIsReceived(t *testing.T) {
	const last = 50
	for name, read := range map[string]func(*reporter){
		"while nobody reads":        func(*reporter) {},
		"beside the one that reads": (*reporter).begin,
	} {
		t.Run(name, func(t *testing.T) {
			var got []netip.AddrPort
			r, socket := reported(t, last, func(p packet) { got = append(got, p.to) })
			read(r)
			if err := r.drain(); err != nil {
				t.Fatal(err)
			}
			var want []netip.AddrPort
			for port := range uint16(last) {
				want = append(want, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 0, 7}), port+1))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			_ = socket.Close()
			if err := r.reading.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

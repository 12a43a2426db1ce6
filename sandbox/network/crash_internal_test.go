package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/crash"
)

// A bug that the network of one run meets must not end a process that has other runs: it is an
// error of the run when its network is taken away.

func wantCrash(t *testing.T, err error) {
	t.Helper()
	if crashed := (*crash.Error)(nil); !errors.As(err, &crashed) || crashed.Value != "a bug" {
		t.Errorf("got %v, want a panic", err)
	}
}

func TestPanicOfAForwarderIsAnErrorOfItsEnd(t *testing.T) {
	_ = exec.Command("ip", "link", "set", "lo", "up").Run() // as root, the tests have a host of their own
	for _, protocol := range []string{"tcp", "udp"} {
		t.Run(protocol, func(t *testing.T) {
			dialled := make(chan struct{}, 10)
			broken := func(context.Context, string, string) (net.Conn, error) {
				defer func() { dialled <- struct{}{} }()
				panic("a bug")
			}
			port := unusedPort(t)
			release, err := publish(broken, []string{"127.0.0.1"}, []container.Port{{Host: port, Container: 80, Protocol: protocol}})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if protocol == "udp" {
				if _, err := conn.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
			} else if conn, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
				t.Fatal(err)
			} else {
				defer conn.Close()
			}
			<-dialled
			wantCrash(t, release())
		})
	}
}

// unusedPort returns a port of the loopback that neither TCP nor UDP has in use.
func unusedPort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func TestPanicOnAnotherThreadIsAnError(t *testing.T) {
	wantCrash(t, OnOwnThread(func() error { panic("a bug") }))
}

// brokenBook panics for whoever asks.
type brokenBook struct{}

func (brokenBook) find(string) (Addresses, bool)    { panic("a bug") }
func (brokenBook) nameOf(netip.Addr) (string, bool) { panic("a bug") }
func (brokenBook) client(netip.Addr) *Endpoint      { panic("a bug") }

// answer keeps what a name server answers.
type answered struct {
	dns.ResponseWriter
	code int
}

func (a *answered) RemoteAddr() net.Addr      { return &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 1000} }
func (a *answered) WriteMsg(m *dns.Msg) error { a.code = m.Rcode; return nil }

func TestPanicOfTheNameServerIsAnErrorOfItsEnd(t *testing.T) {
	r := &resolver{asking: make(chan struct{}, 1), stop: func() {}, book: brokenBook{}}
	for range 2 { // a panic gives its place back
		w := &answered{}
		r.ServeDNS(w, new(dns.Msg).SetQuestion("db.", dns.TypeA))
		if w.code != dns.RcodeServerFailure {
			t.Errorf("answered %s", dns.RcodeToString[w.code])
		}
	}
	wantCrash(t, r.close())
}

// messages is a netlink connection that has one message, again and again.
func messages(kind netlink.HeaderType, data []byte) *netlink.Conn {
	return nltest.Dial(func([]netlink.Message) ([]netlink.Message, error) {
		return []netlink.Message{{Header: netlink.Header{Type: kind}, Data: data}}, nil
	})
}

func TestPanicOfAReaderIsAnErrorOfItsEnd(t *testing.T) {
	r, socket := reported(t, 1, func(packet) { panic("a bug") })
	r.begin()
	if err := r.reading.Wait(); !errors.As(err, new(*crash.Error)) {
		t.Fatalf("the reader has ended with %v", err)
	}
	_ = socket.Close()

	deleted, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: nftAttrTable, Data: []byte("ours\x00")}})
	if err != nil {
		t.Fatal(err)
	}
	w := &firewallWatch{conn: messages(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE, append(make([]byte, 4), deleted...))}
	called := make(chan struct{})
	w.begin("ours", nil, func() {
		close(called)
		panic("a bug")
	})
	<-called
	wantCrash(t, w.close())
}

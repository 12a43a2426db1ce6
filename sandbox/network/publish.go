package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/crash"
)

// PortName is a published port in messages: that of the host.
func PortName(p container.Port) string {
	return net.JoinHostPort(hostIP(p), strconv.Itoa(hostPort(p))) + "/" + protocolOf(p)
}

func hostIP(p container.Port) string     { return cmp.Or(p.HostIP, container.DefaultHostIP) }
func hostPort(p container.Port) int      { return cmp.Or(p.Host, p.Container) }
func protocolOf(p container.Port) string { return cmp.Or(p.Protocol, "tcp") }

// CheckPorts refuses what cannot be published.
func CheckPorts(ports []container.Port) error {
	seen := map[string]bool{}
	for _, p := range ports {
		if address, err := netip.ParseAddr(hostIP(p)); err != nil || address.Zone() != "" {
			return fmt.Errorf("publish port %s: %q is not an IP address of the host", PortName(p), p.HostIP)
		}
		if protocolOf(p) != "tcp" && protocolOf(p) != "udp" {
			return fmt.Errorf("publish port %s: the protocol must be tcp or udp", PortName(p))
		}
		for _, number := range []int{p.Container, hostPort(p)} {
			if number < 1 || number > 65535 {
				return fmt.Errorf("publish port %s: %d is not a port number (1 to 65535)", PortName(p), number)
			}
		}
		if seen[PortName(p)] {
			return fmt.Errorf("publish port %s: it is listed twice", PortName(p))
		}
		seen[PortName(p)] = true
	}
	return nil
}

// Publish listens on ports of the host and connects whoever calls to the
// container, until release is called. No rule of the host's firewall is
// involved: the sockets say that the ports are taken, and by whom, and nothing
// but the listed addresses leads in. A program that listens only by IPv6 is
// reached, too.
func (e *Endpoint) Publish(ports []container.Port) (release func() error, err error) {
	return publish(e.network.Dial, []string{e.V4.String(), e.V6.String()}, ports)
}

// dialer connects from within a run's network.
type dialer func(ctx context.Context, protocol, to string) (net.Conn, error)

// publish forwards to the first of the container's addresses at which somebody listens.
func publish(dial dialer, addresses []string, ports []container.Port) (release func() error, err error) {
	f := &forwarder{dial: dial, addresses: addresses, connections: map[io.Closer]bool{}}
	f.running, f.stop = context.WithCancel(context.Background())
	for _, p := range ports {
		listen := f.listenTCP
		if protocolOf(p) == "udp" {
			listen = f.listenUDP
		}
		if err := listen(p); err != nil {
			return nil, errors.Join(fmt.Errorf("publish port %s: %w", PortName(p), whyNotListening(p, err)), f.close())
		}
	}
	return f.close, nil
}

// whyNotListening is an error of package net without the address, which is said beside it, and
// with what mends it.
func whyNotListening(p container.Port, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w: %s has it (use another port of the host)", err, holderOf(p))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: the host lacks the address", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (users may have ports from sysctl net.ipv4.ip_unprivileged_port_start on)", err)
	}
	return err
}

// forwarder copies what ports of the host get to a container, and back.
type forwarder struct {
	dial      dialer
	addresses []string        // of the container, the preferred one first
	running   context.Context // ends with close
	stop      context.CancelFunc

	mu          sync.Mutex
	closed      bool
	connections map[io.Closer]bool // and listeners
	done        crash.Group
}

// connect connects to a port of the container.
func (f *forwarder) connect(port int) (conn net.Conn, err error) {
	for i := range f.addresses {
		if conn, err = f.dial(f.running, "tcp", f.at(i, port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (f *forwarder) at(i, port int) string {
	return net.JoinHostPort(f.addresses[i%len(f.addresses)], strconv.Itoa(port))
}

func (f *forwarder) listenTCP(p container.Port) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(hostIP(p), strconv.Itoa(hostPort(p))))
	if err != nil {
		return err
	}
	f.hold(listener)
	f.done.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			f.done.Go(func() { f.forward(from, p.Container) })
		}
	})
	return nil
}

// forward serves one connection. As on a real network, whoever calls a port
// that nobody listens on is cut off.
func (f *forwarder) forward(from net.Conn, port int) {
	defer from.Close()
	to, err := f.connect(port)
	if err != nil {
		return
	}
	defer to.Close()
	if !f.hold(from, to) {
		return
	}
	defer f.drop(from, to)
	there := make(chan struct{})
	f.done.Go(func() {
		defer close(there)
		pour(to, from)
	})
	pour(from, to)
	<-there
}

// pour copies until the end and passes that on; an error ends both ways.
func pour(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		from.Close()
		to.Close()
		return
	}
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // fails when the other side has gone already
	}
}

// udpIdle is how long a sender of packets is remembered after its last one.
const udpIdle = 2 * time.Minute

// maxUDPPeers bounds the senders that are remembered.
const maxUDPPeers = 1000

func (f *forwarder) listenUDP(p container.Port) error {
	socket, err := net.ListenPacket("udp", net.JoinHostPort(hostIP(p), strconv.Itoa(hostPort(p))))
	if err != nil {
		return err
	}
	f.hold(socket)
	f.done.Go(func() { f.forwardPackets(socket, p.Container) })
	return nil
}

// forwardPackets passes packets on.
func (f *forwarder) forwardPackets(socket net.PacketConn, port int) {
	s := &senders{forwarder: f, socket: socket, port: port, known: map[string]net.Conn{}}
	packet := make([]byte, 1<<16)
	for {
		n, from, err := socket.ReadFrom(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // such as that an answer found nobody
		}
		if to := s.of(from); to != nil {
			_ = to.SetReadDeadline(time.Now().Add(udpIdle))
			if _, err := to.Write(packet[:n]); errors.Is(err, unix.ECONNREFUSED) { // of the one before; as packets may, it is lost
				s.tryNext()
				to.Close()
			}
		}
	}
}

// senders are those who send packets to a port. Each has a socket of its own, by which the answers
// find back.
type senders struct {
	forwarder *forwarder
	socket    net.PacketConn
	port      int // of the container

	mu    sync.Mutex
	known map[string]net.Conn // by address
	try   int                 // which of the container's addresses new senders are connected to
}

// of returns the socket of a sender, or nil when there are too many or the container cannot be
// reached.
func (s *senders) of(from net.Addr) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.forwarder
	if to := s.known[from.String()]; to != nil || len(s.known) >= maxUDPPeers {
		return to
	}
	to, err := f.dial(f.running, "udp", f.at(s.try, s.port))
	if err != nil || !f.hold(to) {
		return nil
	}
	s.known[from.String()] = to
	f.done.Go(func() {
		defer s.forget(from)
		defer f.drop(to)
		if err := answer(s.socket, from, to); errors.Is(err, unix.ECONNREFUSED) {
			s.tryNext()
		}
	})
	return to
}

func (s *senders) forget(from net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, from.String())
}

// tryNext has the next packet go to the container's next address: a socket of UDP connects where
// nobody listens as well, and learns it from the answer.
func (s *senders) tryNext() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.try++
}

// answer passes packets back until none come any more, and returns why.
func answer(socket net.PacketConn, from net.Addr, to net.Conn) error {
	defer to.Close()
	packet := make([]byte, 1<<16)
	for {
		n, err := to.Read(packet)
		if err != nil {
			return err
		}
		if _, err := socket.WriteTo(packet[:n], from); err != nil {
			return err
		}
	}
}

// hold notes connections, for close to end them.
func (f *forwarder) hold(all ...io.Closer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range all {
		f.connections[c] = true
	}
	if f.closed {
		for _, c := range all {
			c.Close()
		}
	}
	return !f.closed
}

func (f *forwarder) drop(all ...io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range all {
		delete(f.connections, c)
	}
}

// close gives the ports back, ends all connections and waits for both.
func (f *forwarder) close() error {
	f.stop()
	f.mu.Lock()
	f.closed = true
	for c := range f.connections {
		c.Close() // what it held is lost with the container
	}
	f.mu.Unlock()
	return f.done.Wait()
}

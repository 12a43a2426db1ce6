package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// forwarder copies what TCP ports of the host get into a network namespace,
// and back.
type forwarder struct {
	netns     string
	listeners []net.Listener

	mu          sync.Mutex
	closed      bool
	connections map[net.Conn]bool
	done        sync.WaitGroup
}

func (f *forwarder) listen(p Port) error {
	listener, err := net.Listen("tcp4", net.JoinHostPort(hostIP(p), strconv.Itoa(hostPort(p))))
	if err != nil {
		return err
	}
	f.listeners = append(f.listeners, listener)
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
	to, err := dialIn(f.netns, port)
	if err != nil {
		return
	}
	defer to.Close()
	if !f.hold(from, to) {
		return
	}
	defer f.drop(from, to)
	var there sync.WaitGroup
	there.Go(func() { pour(to, from) })
	pour(from, to)
	there.Wait()
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

// hold notes connections, for close to end them.
func (f *forwarder) hold(all ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range all {
		f.connections[c] = true
	}
	return !f.closed
}

func (f *forwarder) drop(all ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range all {
		delete(f.connections, c)
	}
}

// close gives the ports back, ends all connections and waits for both.
func (f *forwarder) close() error {
	var failed []error
	for _, listener := range f.listeners {
		failed = append(failed, listener.Close())
	}
	f.mu.Lock()
	f.closed = true
	for c := range f.connections {
		c.Close()
	}
	f.mu.Unlock()
	f.done.Wait()
	return errors.Join(failed...)
}

// dialIn connects to a port of the loopback in a network namespace. A socket
// stays in the namespace in which it was made.
func dialIn(netns string, port int) (conn net.Conn, err error) {
	there, err := os.Open(netns)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	err = onOwnThread(func() (err error) {
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		conn, err = dialTCP(context.Background(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)))
		return err
	})
	return conn, err
}

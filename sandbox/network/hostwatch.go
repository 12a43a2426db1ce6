package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// hostWatch hears of addresses that the host gets, until it is closed.
type hostWatch struct {
	conn    *netlink.Conn
	reading crash.Group
	closing atomic.Bool
}

// watchHost keeps closed what the host gets since the network was made: without root, the program
// that leads outside would reach it as any program of the host does.
func (n *Bridged) watchHost() (err error) {
	if n.host, err = startHostWatch(n.closeHost); err != nil {
		return err
	}
	addresses, err := hostAddresses() // also those that it has got before anybody listened
	if err != nil {
		return err
	}
	return n.tables.closeHost(n.router.nft, addresses)
}

func (n *Bridged) closeHost(addresses []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.router == nil {
		return
	}
	if err == nil {
		err = n.tables.closeHost(n.router.nft, addresses)
	}
	if err != nil && n.o.Warn != nil {
		n.o.Warn(fmt.Sprintf("the host may get new addresses that private networks can reach: %v", err))
	}
}

// startHostWatch begins to call changed, one call at a time, with all addresses of the host whenever
// it has got one, or with the reason why they are not known.
func startHostWatch(changed func([]netip.Addr, error)) (*hostWatch, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("listen to changes of the host's addresses: %w", err)
	}
	for _, group := range []uint32{unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR} {
		if err := conn.JoinGroup(group); err != nil {
			return nil, errors.Join(fmt.Errorf("listen to changes of the host's addresses: %w", err), conn.Close())
		}
	}
	w := &hostWatch{conn: conn}
	w.reading.Go(func() { w.read(changed) })
	return w, nil
}

func (w *hostWatch) read(changed func([]netip.Addr, error)) {
	for {
		messages, err := w.conn.Receive()
		isMore := errors.Is(err, unix.ENOBUFS) // more came than was read
		if err != nil && !isMore {
			if !w.closing.Load() {
				changed(nil, fmt.Errorf("listen to changes of the host's addresses: %w", err))
			}
			return
		}
		for _, m := range messages {
			isMore = isMore || m.Header.Type == unix.RTM_NEWADDR
		}
		if isMore {
			changed(hostAddresses())
		}
	}
}

// hostAddresses are the addresses of the host now.
func hostAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses, which are closed to private networks: %w", err)
	}
	var addresses []netip.Addr
	for _, a := range list {
		if of, ok := a.(*net.IPNet); ok {
			if address, ok := netip.AddrFromSlice(of.IP); ok {
				addresses = append(addresses, address.Unmap())
			}
		}
	}
	return addresses, nil
}

// close ends the watching; nil: there is none.
func (w *hostWatch) close() error {
	if w == nil {
		return nil
	}
	w.closing.Store(true)
	return errors.Join(w.conn.Close(), w.reading.Wait())
}

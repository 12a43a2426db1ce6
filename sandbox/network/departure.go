package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	rtnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// patience is how long the kernel is given to delete a link with the namespace of its other end.
// It needs 1 ms, unless it is still at work on the namespaces of containers.
const patience = 3 * time.Millisecond

// departure follows a link of the host until it is gone.
type departure struct {
	link rtnetlink.Link
	conn *netlink.Conn
}

// followLink begins to follow a link. nil: there is no such link.
func followLink(handle *rtnetlink.Handle, name string) (*departure, error) {
	link, err := handle.LinkByName(name)
	if errors.As(err, new(rtnetlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the link %s: %w", name, err)
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("listen to changes of links: %w", err)
	}
	if err := conn.JoinGroup(unix.RTNLGRP_LINK); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to changes of links: %w", err), conn.Close())
	}
	return &departure{link, conn}, nil
}

// finish returns once the link is off the host. A link that does not leave by itself within wait is
// deleted by background: it is off the host at once, but whoever asked for that is held until the
// kernel has freed it, some 20 ms.
func (d *departure) finish(wait time.Duration, background func(func())) error {
	if d == nil {
		return nil
	}
	defer d.conn.Close()
	if wait > 0 {
		_ = d.conn.SetReadDeadline(time.Now().Add(wait))
		if d.sawItGo() {
			return nil
		}
	}
	_ = d.conn.SetReadDeadline(time.Time{})
	deleted := make(chan error, 1)
	background(func() {
		err := rtnetlink.LinkDel(d.link)
		if errors.Is(err, unix.ENODEV) {
			err = nil
		}
		deleted <- err
		_ = d.conn.SetReadDeadline(time.Now()) // whoever still listens has missed it
	})
	if d.sawItGo() {
		return nil
	}
	if err := <-deleted; err != nil {
		return fmt.Errorf("delete network link %s: %w", d.link.Attrs().Name, err)
	}
	return nil
}

// sawItGo waits until the kernel tells that the link is gone. It returns false at the deadline, and
// if something was missed.
func (d *departure) sawItGo() bool {
	for {
		messages, err := d.conn.Receive()
		if err != nil {
			return false
		}
		for _, m := range messages {
			// struct ifinfomsg: a byte for the family, and the index from the fourth byte on.
			if m.Header.Type == unix.RTM_DELLINK && len(m.Data) >= unix.SizeofIfInfomsg && m.Data[0] == unix.AF_UNSPEC &&
				int(binary.NativeEndian.Uint32(m.Data[4:])) == d.link.Attrs().Index {
				return true
			}
		}
	}
}

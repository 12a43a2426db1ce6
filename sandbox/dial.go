package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox/network"
)

// Dial connects over TCP to an address as the step sees it: from the container's network. It may be
// called until Remove, even before Start.
func (s *Sandbox) Dial(ctx context.Context, to netip.AddrPort) (conn net.Conn, err error) {
	if s.step.Advanced.Spec == nil && onHostNetwork(s.step) {
		return dialTCP(ctx, to)
	}
	err = s.inNetwork(func() (err error) {
		conn, err = dialTCP(ctx, to)
		return err
	})
	return conn, err
}

func dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	// An address rather than a name, so that everything happens on the calling thread.
	return new(net.Dialer).DialContext(ctx, "tcp", to.String())
}

// inNetwork runs f with its thread in the container's network namespace. It finds the namespace
// through the pidfd of the init process (setns(2)), because the pid could belong to another process
// by now.
func (s *Sandbox) inNetwork(f func() error) error {
	return network.OnOwnThread(func() error {
		var joined error
		err := s.init.WithHandle(func(pidfd uintptr) { joined = unix.Setns(int(pidfd), unix.CLONE_NEWNET) })
		if err := errors.Join(err, joined); err != nil {
			return fmt.Errorf("enter the step's network namespace: %w", err)
		}
		return f()
	})
}

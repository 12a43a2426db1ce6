package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/sandbox/network"
)

// Listeners are the ports of a network at which programs accept connections, as a step sees them.
type Listeners struct {
	Own     map[uint16]bool   // ports of the step's own processes
	Foreign map[uint16]string // ports of other processes, with the program and pid of each
}

// Listeners returns the listeners at loopback addresses, or at one of those given, in the network
// that the step shares with others. For a step with its own network it returns nothing: all
// listeners there are the step's.
func (s *Sandbox) Listeners(at ...netip.Addr) (l Listeners, shared bool, err error) {
	if s.host == nil || s.host.hasOwnNetwork(s.step) || s.step.Advanced.Spec != nil {
		return l, false, nil
	}
	list := func() (err error) {
		l, err = s.listeners(at)
		return err
	}
	if onHostNetwork(s.step) {
		return l, true, list()
	}
	return l, true, s.inNetwork(list)
}

func (s *Sandbox) listeners(at []netip.Addr) (Listeners, error) {
	l := Listeners{Own: map[uint16]bool{}, Foreign: map[uint16]string{}}
	sockets, err := network.Listening()
	if err != nil {
		return l, err
	}
	pids, err := s.pids()
	if err != nil {
		return l, err
	}
	own := map[uint32]bool{}
	for pid := range pids {
		for _, inode := range network.SocketsOf(pid) {
			own[inode] = true
		}
	}
	others := map[uint32]bool{}
	sockets = slices.DeleteFunc(sockets, func(socket network.Listener) bool {
		address := socket.Address.Addr()
		return !address.IsUnspecified() && !address.IsLoopback() && !slices.Contains(at, address)
	})
	for _, socket := range sockets {
		if !own[socket.Inode] {
			others[socket.Inode] = true
		}
	}
	holders, err := network.Holders(others)
	for _, socket := range sockets {
		of, port := holders[socket.Inode], socket.Address.Port()
		switch {
		case own[socket.Inode] || slices.ContainsFunc(of, s.isBelow):
			l.Own[port] = true
		case len(of) > 0:
			l.Foreign[port] = of[0].String()
		case l.Foreign[port] == "":
			l.Foreign[port] = fmt.Sprintf("a program of user %d", socket.UID)
		}
	}
	return l, err
}

// isBelow reports whether a process is in a cgroup below the container's: one which the step has
// created itself. It counts as the step's own.
func (s *Sandbox) isBelow(p network.Process) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
	return err == nil && strings.Contains(string(data), "/"+cgroupName(s.id)+"/")
}

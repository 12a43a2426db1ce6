package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
		for _, inode := range socketsOf(pid) {
			own[inode] = true
		}
	}
	for _, socket := range sockets {
		if address := socket.Address.Addr(); !address.IsUnspecified() && !address.IsLoopback() && !slices.Contains(at, address) {
			continue
		}
		if own[socket.Inode] {
			l.Own[socket.Address.Port()] = true
			continue
		}
		l.Foreign[socket.Address.Port()] = fmt.Sprintf("a program of user %d", socket.UID)
	}
	return l, s.nameHolders(&l, sockets, own)
}

// nameHolders finds the programs that hold foreign sockets. A process in a group below the step's,
// which the step has created itself, counts as the step's own.
func (s *Sandbox) nameHolders(l *Listeners, sockets []network.Listener, own map[uint32]bool) error {
	wanted := map[uint32]network.Listener{}
	for _, socket := range sockets {
		if _, foreign := l.Foreign[socket.Address.Port()]; foreign && !own[socket.Inode] {
			wanted[socket.Inode] = socket
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range processes {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		for _, inode := range socketsOf(pid) {
			socket, ok := wanted[inode]
			if !ok {
				continue
			}
			port := socket.Address.Port()
			if s.isBelow(dir) {
				delete(l.Foreign, port)
				l.Own[port] = true
				continue
			}
			name, err := os.ReadFile(filepath.Join(dir, "comm"))
			if err == nil {
				l.Foreign[port] = fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(name)), pid)
			}
		}
	}
	return nil
}

// isBelow reports whether a process is in a cgroup below the container's.
func (s *Sandbox) isBelow(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	return err == nil && strings.Contains(string(data), "/"+cgroupName(s.id)+"/")
}

// socketsOf returns the inodes of a process's sockets; none when it has ended or cannot be
// inspected.
func socketsOf(pid int) []uint32 {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var inodes []uint32
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue
		}
		text, ok := strings.CutPrefix(target, "socket:[")
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32); err == nil {
			inodes = append(inodes, uint32(inode))
		}
	}
	return inodes
}

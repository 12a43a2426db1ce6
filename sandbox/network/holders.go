package network

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/container"
)

// Process is a process that holds a socket.
type Process struct {
	PID  int
	Name string // of its program, as the kernel has it
}

// String names the process in messages.
func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Name, p.PID) }

// Holders finds the processes that hold sockets, by the inodes of those. Processes that the caller
// may not look into are not among them.
func Holders(inodes map[uint32]bool) (map[uint32][]Process, error) {
	if len(inodes) == 0 {
		return nil, nil
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	holders := map[uint32][]Process{}
	for _, dir := range processes {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		for _, inode := range SocketsOf(pid) {
			if !inodes[inode] {
				continue
			}
			if name, err := os.ReadFile(filepath.Join(dir, "comm")); err == nil {
				holders[inode] = append(holders[inode], Process{pid, strings.TrimSpace(string(name))})
			}
		}
	}
	return holders, nil
}

// SocketsOf returns the inodes of a process's sockets; none when it has ended or cannot be
// inspected.
func SocketsOf(pid int) []uint32 {
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

// holderOf says who has a port of the host that cannot be published.
func holderOf(p container.Port) string {
	const unknown = "another program"
	protocol, state := byte(unix.IPPROTO_TCP), tcpListen
	if protocolOf(p) == "udp" {
		protocol, state = unix.IPPROTO_UDP, tcpClose
	}
	at, err := netip.ParseAddr(hostIP(p))
	if err != nil {
		return unknown
	}
	sockets, err := listeners(protocol, state)
	if err != nil {
		return unknown
	}
	for _, socket := range sockets {
		has := socket.Address.Addr()
		if int(socket.Address.Port()) != hostPort(p) || has != at.Unmap() && !has.IsUnspecified() && !at.IsUnspecified() {
			continue
		}
		holders, err := Holders(map[uint32]bool{socket.Inode: true})
		if err != nil || len(holders[socket.Inode]) == 0 {
			return fmt.Sprintf("a program of user %d", socket.UID)
		}
		holder := holders[socket.Inode][0]
		if holder.PID == os.Getpid() {
			return "this run, or another one of this process,"
		}
		return holder.String()
	}
	return unknown
}

package network

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// legacyFirewall returns a *ClosedError if tables of iptables-legacy drop the packets of private
// networks, and nil if they do not or cannot be read. They are not part of nftables.
func legacyFirewall() *ClosedError {
	var programs []string
	for i := range legacyTables {
		if table := legacyTables[i].read(); table != nil && table.isClosed() {
			programs = append(programs, legacyTables[i].program)
		}
	}
	if programs == nil {
		return nil
	}
	closed := &ClosedError{firewall: "the FORWARD chain of " + strings.Join(programs, " and ")}
	for _, program := range programs {
		closed.commands = append(closed.commands, program+" -I FORWARD -i "+linkPrefix+"+ -j ACCEPT",
			program+" -I FORWARD -o "+linkPrefix+"+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	}
	return closed
}

// legacyKind is how the kernel lays out the tables of one version of IP. An entry is a match on
// addresses and links, two offsets, counters, further matches and a target
// (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h).
type legacyKind struct {
	program       string
	names         string // file that lists the tables that are in use
	domain, level int
	inLink        int // offset of the link that a packet comes from, in an entry
	matched       int // bytes of an entry that say which packets it is for, without further matches
	targetOffset  int // offset of the offset of an entry's target; that of the next entry follows
	size          int // bytes of an entry before further matches
}

var legacyTables = [...]legacyKind{
	{"iptables-legacy", "/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP, 16, 84, 88, 112},
	{"ip6tables-legacy", "/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 64, 136, 140, 168},
}

const (
	legacyInfo    = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	legacyEntries = 65 // IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES
	legacyForward = 2  // NF_INET_FORWARD

	verdictAt     = 32 // offset of the verdict in a target of the kernel's own
	verdictDrop   = -1
	verdictAccept = -2
)

// legacyInfoOf is struct ipt_getinfo.
type legacyInfoOf struct {
	name              [32]byte
	hooks             uint32
	begins, underflow [5]uint32 // by hook: offset of its chain's first entry, and of its policy
	number, size      uint32
}

// legacyHead is struct ipt_get_entries; the entries follow.
type legacyHead struct {
	name  [32]byte
	size  uint32
	first [0]uint64
}

// legacyTable is the filter table of one version of IP.
type legacyTable struct {
	kind    *legacyKind
	forward [2]int // offsets of the first entry of the FORWARD chain, and of its policy
	entries []byte
}

// read returns nil if there is no table. It asks for one only if there is: the kernel would make
// it otherwise.
func (k *legacyKind) read() *legacyTable {
	names, err := os.ReadFile(k.names)
	if err != nil || !slices.Contains(strings.Fields(string(names)), "filter") {
		return nil
	}
	socket, err := unix.Socket(k.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil
	}
	defer unix.Close(socket)
	info := legacyInfoOf{name: [32]byte{'f', 'i', 'l', 't', 'e', 'r'}}
	if k.get(socket, legacyInfo, unsafe.Pointer(&info), unsafe.Sizeof(info)) != nil {
		return nil
	}
	begin := int(unsafe.Offsetof(legacyHead{}.first))
	buffer := make([]uint64, (begin+int(info.size))/8+1) // aligned as the kernel's structures
	head := (*legacyHead)(unsafe.Pointer(&buffer[0]))
	head.name, head.size = info.name, info.size
	if k.get(socket, legacyEntries, unsafe.Pointer(&buffer[0]), uintptr(begin)+uintptr(info.size)) != nil {
		return nil
	}
	all := unsafe.Slice((*byte)(unsafe.Pointer(&buffer[0])), len(buffer)*8)
	return &legacyTable{
		kind: k, forward: [2]int{int(info.begins[legacyForward]), int(info.underflow[legacyForward])},
		entries: all[begin : begin+int(info.size)],
	}
}

// get is getsockopt(2) with a value that goes both ways.
func (k *legacyKind) get(socket, name int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(k.level), uintptr(name), uintptr(value), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// isClosed reports whether the FORWARD chain drops what it does not know, by its policy or by a
// last rule for every packet, and no rule of the table accepts what comes from runs.
func (t *legacyTable) isClosed() bool {
	closed := false
	for at := 0; at+t.kind.size <= len(t.entries); {
		entry := t.entries[at:]
		target := int(binary.NativeEndian.Uint16(entry[t.kind.targetOffset:]))
		next := int(binary.NativeEndian.Uint16(entry[t.kind.targetOffset+2:]))
		if target < t.kind.size || next < target+verdictAt || next > len(entry) {
			return false // not a table as we know it
		}
		switch verdict := verdictOf(entry[target:next]); {
		case verdict == verdictAccept && bytes.HasPrefix(entry[t.kind.inLink:], []byte(linkPrefix)):
			return false
		case verdict == verdictDrop && at >= t.forward[0] && at <= t.forward[1] && target == t.kind.size:
			closed = closed || !bytes.ContainsFunc(entry[:t.kind.matched], func(r rune) bool { return r != 0 })
		}
		at += next
	}
	return closed
}

// verdictOf returns what a target does with a packet, or 0 if it goes elsewhere.
func verdictOf(target []byte) int {
	name, _, _ := bytes.Cut(target[2:verdictAt-1], []byte{0})
	switch {
	case string(name) == "REJECT":
		return verdictDrop
	case len(name) == 0 && len(target) >= verdictAt+4:
		return int(int32(binary.NativeEndian.Uint32(target[verdictAt:])))
	}
	return 0
}

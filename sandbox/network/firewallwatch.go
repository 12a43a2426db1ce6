package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// firewallWatch hears of changes to the host's firewall, as `nft monitor` does,
// until it is closed.
type firewallWatch struct {
	conn    *netlink.Conn
	reading crash.Group
}

// Attributes of linux/netfilter/nf_tables.h: names of tables, and what tells the
// rules and chains apart that concern a run.
const (
	nftAttrTable        = 1 // of tables, chains and rules
	nftAttrChainHook    = 4
	nftAttrRuleUserdata = 7
	nftAttrHookNumber   = 1
)

// startFirewallWatch begins to call changed, one call at a time, whenever
// somebody has deleted what a run has on the host, or has made a chain through
// which forwarded packets go.
func startFirewallWatch(table string, mark []byte, changed func()) (*firewallWatch, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("listen to changes of the host's firewall: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to changes of the host's firewall: %w", err), conn.Close())
	}
	w := &firewallWatch{conn: conn}
	w.begin(table, mark, changed)
	return w, nil
}

func (w *firewallWatch) begin(table string, mark []byte, changed func()) {
	w.reading.Go(func() { w.read(table, mark, changed) })
}

func (w *firewallWatch) read(table string, mark []byte, changed func()) {
	for {
		messages, err := w.conn.Receive()
		concerns := errors.Is(err, unix.ENOBUFS) // more came than was read
		if err != nil && !concerns {
			return // it is closed
		}
		for i := range messages {
			concerns = concerns || concernsRun(&messages[i], table, mark)
		}
		if concerns {
			changed()
		}
	}
}

// concernsRun reports whether a message says that a run's table or one of its
// rules in chains of others was deleted, or that a chain of somebody else's now
// decides about forwarded packets.
func concernsRun(m *netlink.Message, table string, mark []byte) bool {
	const header = 4 // struct nfgenmsg
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < header {
		return false
	}
	attributes, err := netlink.UnmarshalAttributes(m.Data[header:])
	if err != nil {
		return false
	}
	of := map[uint16][]byte{}
	for _, a := range attributes {
		of[a.Type] = a.Data
	}
	name := string(bytes.TrimRight(of[nftAttrTable], "\x00"))
	switch m.Header.Type & 0xff {
	case unix.NFT_MSG_DELTABLE:
		return name == table
	case unix.NFT_MSG_DELRULE:
		return bytes.Equal(of[nftAttrRuleUserdata], mark)
	case unix.NFT_MSG_NEWCHAIN:
		return !bytes.HasPrefix(of[nftAttrTable], []byte(tablePrefix)) && isForwarding(of[nftAttrChainHook])
	}
	return false
}

// isForwarding reports whether a chain's hook is that of forwarded packets.
func isForwarding(hook []byte) bool {
	attributes, err := netlink.UnmarshalAttributes(hook)
	if err != nil {
		return false
	}
	for _, a := range attributes {
		if a.Type == nftAttrHookNumber && len(a.Data) == 4 {
			return binary.BigEndian.Uint32(a.Data) == unix.NF_INET_FORWARD
		}
	}
	return false
}

// close ends the watching; nil: there is none.
func (w *firewallWatch) close() error {
	if w == nil {
		return nil
	}
	return errors.Join(w.conn.Close(), w.reading.Wait())
}

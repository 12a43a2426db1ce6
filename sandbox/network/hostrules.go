package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// postrouting is the chain in the run's table that packets to the world go through last.
const postrouting = "postrouting"

// addTable sets up the run's table on the host in one transaction: what leaves
// gets the host's address, and what comes out of the run reaches neither the
// host itself nor other runs. The router refuses the latter too; here it is
// refused even to addresses that the host has got since.
func (u *uplink) addTable() (*nftables.Set, *nftables.Set, error) {
	table := u.nft.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + u.run})
	gates4 := &nftables.Set{Table: table, Name: "gates4", ID: 1, KeyType: nftables.TypeIPAddr}
	gates6 := &nftables.Set{Table: table, Name: "gates6", ID: 2, KeyType: nftables.TypeIP6Addr}
	if err := errors.Join(u.nft.AddSet(gates4, nil), u.nft.AddSet(gates6, nil)); err != nil {
		return nil, nil, err
	}
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return u.nft.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: priority})
	}
	add := func(chain *nftables.Chain, parts ...[]expr.Any) {
		u.nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: join(parts...)})
	}
	input := base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	add(input, in(u.name()), established(), accept())
	add(input, in(u.name()), protocol(unix.IPPROTO_ICMPV6), accept()) // neighbours find each other by it
	add(input, in(u.name()), inSet(gates4, false, false), accept())
	add(input, in(u.name()), inSet(gates6, true, false), accept())
	add(input, in(u.name()), refuseTCP())
	add(input, in(u.name()), refuse())
	forward := base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	add(forward, in(u.name()), outPrefix(linkPrefix), refuseTCP())
	add(forward, in(u.name()), outPrefix(linkPrefix), refuse())
	post := base(postrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	u.addProbe(post)
	add(post, within(u.subnet.v4, false), outOther(u.name()), masquerade())
	if u.masked6 {
		add(post, within(u.subnet.v6, false), outOther(u.name()), masquerade())
	}
	if err := u.nft.Flush(); err != nil {
		return nil, nil, fmt.Errorf("set up table %s%s of nftables: %w", tablePrefix, u.run, err)
	}
	return gates4, gates6, nil
}

// addHoles has the firewalls of the host carry the run's packets where they
// drop whatever they do not know, as docker's does. The rules come last in a
// chain: they stand in for its policy and override no rule of an
// administrator. Tables that only their owner may change, as firewalld's from
// version 2 on, stay as they are: CheckForwarding names them.
func (u *uplink) addHoles() error {
	chains, err := u.foreignForwarding()
	if err != nil || len(chains) == 0 {
		return err
	}
	owned, err := u.isOwned()
	if err != nil {
		return err
	}
	for _, chain := range chains {
		if owned(chain.Table) {
			continue
		}
		rules, err := u.nft.GetRules(chain.Table, chain)
		if err != nil {
			return fmt.Errorf("list rules of chain %s: %w", chain.Name, err)
		}
		if slices.ContainsFunc(rules, u.isOwn) {
			continue
		}
		var before uint64
		if n := len(rules); n > 0 && isFinal(rules[n-1]) {
			before = rules[n-1].Handle
		} else if chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop {
			continue
		}
		for _, match := range [][]expr.Any{in(u.name()), join(out(u.name()), established())} {
			rule := &nftables.Rule{Table: chain.Table, Chain: chain, Position: before, Exprs: join(match, []expr.Any{&expr.Counter{}}, accept()), UserData: u.mark()}
			if before != 0 {
				u.nft.InsertRule(rule)
			} else {
				u.nft.AddRule(rule)
			}
		}
	}
	if err := u.nft.Flush(); err != nil {
		return fmt.Errorf("let the host's firewall carry the run's packets: %w", err)
	}
	return nil
}

// isOwned recognises tables that only the program that made them may change.
func (u *uplink) isOwned() (func(*nftables.Table) bool, error) {
	// NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h. The library leaves the bytes of the flags as
	// they come, which is in network order.
	owner := binary.NativeEndian.Uint32([]byte{3: 0x2})
	tables, err := u.nft.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list the tables of nftables: %w", err)
	}
	return func(of *nftables.Table) bool {
		return slices.ContainsFunc(tables, func(t *nftables.Table) bool {
			return t.Family == of.Family && t.Name == of.Name && t.Flags&owner != 0
		})
	}, nil
}

// mark is the comment by which a run's rules in chains of others are found,
// in the form that nft(8) shows.
func (u *uplink) mark() []byte {
	comment := tablePrefix + u.run
	return append([]byte{0, byte(len(comment) + 1)}, append([]byte(comment), 0)...)
}

func (u *uplink) isOwn(rule *nftables.Rule) bool { return bytes.Equal(rule.UserData, u.mark()) }

// hasTable reports whether the run's table is there.
func (u *uplink) hasTable() bool {
	_, err := u.nft.ListChain(&nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + u.run}, postrouting)
	return err == nil
}

// foreignForwarding are the chains of others through which the host's forwarded
// packets go.
func (u *uplink) foreignForwarding() ([]*nftables.Chain, error) {
	all, err := u.nft.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list the chains of nftables: %w", err)
	}
	var found []*nftables.Chain
	for _, chain := range all {
		isOurs := bytes.HasPrefix([]byte(chain.Table.Name), []byte(tablePrefix))
		isIP := chain.Table.Family == nftables.TableFamilyIPv4 || chain.Table.Family == nftables.TableFamilyIPv6 || chain.Table.Family == nftables.TableFamilyINet
		if !isOurs && isIP && chain.Hooknum != nil && *chain.Hooknum == *nftables.ChainHookForward && chain.Type == nftables.ChainTypeFilter {
			found = append(found, chain)
		}
	}
	return found, nil
}

// isFinal reports whether a rule ends its chain for every packet: it drops or
// refuses, and matches all.
func isFinal(rule *nftables.Rule) bool {
	final := false
	for _, e := range rule.Exprs {
		switch e := e.(type) {
		case *expr.Counter, *expr.Log, *expr.Limit:
		case *expr.Reject:
			final = true
		case *expr.Verdict:
			final = e.Kind == expr.VerdictDrop
		default:
			return false
		}
	}
	return final
}

// sweepHoles deletes the run's rules in chains of others.
func (u *uplink) sweepHoles() error {
	chains, err := u.foreignForwarding()
	if err != nil {
		return err
	}
	found := false
	for _, chain := range chains {
		rules, err := u.nft.GetRules(chain.Table, chain)
		if errors.Is(err, os.ErrNotExist) {
			continue // somebody has just removed it
		}
		if err != nil {
			return fmt.Errorf("list rules of chain %s: %w", chain.Name, err)
		}
		for _, rule := range rules {
			if !u.isOwn(rule) {
				continue
			}
			if err := u.nft.DelRule(rule); err != nil {
				return err
			}
			found = true
		}
	}
	if !found {
		return nil
	}
	if err := u.nft.Flush(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete the run's rules in chains of the host's firewall: %w", err)
	}
	return nil
}

// deleteTable deletes the run's table in one transaction. It is no error when
// there is none: it is made first. A list of tables would tell that too, but not
// reliably while others change theirs.
func (u *uplink) deleteTable() error {
	u.nft.DelTable(u.nft.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + u.run}))
	if err := u.nft.Flush(); err != nil {
		return fmt.Errorf("delete table %s%s of nftables: %w", tablePrefix, u.run, err)
	}
	return nil
}

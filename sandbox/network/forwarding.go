package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// ClosedError says that a firewall of the host drops what runs send to the world, and that a run
// cannot add an exception for itself.
type ClosedError struct {
	firewall string   // what drops the packets
	commands []string // that have it carry them
}

// Error names the firewall that drops packets.
func (e *ClosedError) Error() string {
	return e.firewall + " drops the packets of private networks"
}

// Remedy is the commands that let private networks reach the world; "": they are not known.
func (e *ClosedError) Remedy() string { return strings.Join(e.commands, "; ") }

// probeTime bounds how long a packet is waited for. The kernel carries it at once; what is sent
// again after a second has a second chance on a machine that is busy.
const probeTime = 2 * time.Second

// probed is where a packet goes that tries whether the host carries those of a run: an address that
// nobody has (RFC 5737, RFC 3849). The run's own table counts the packet and drops it when it has
// passed all firewalls, so it never leaves the host.
func probed(v6 bool) netip.AddrPort {
	if v6 {
		return netip.MustParseAddrPort("[2001:db8:ffff:ffff::1]:443")
	}
	return netip.MustParseAddrPort("192.0.2.254:443")
}

// addProbe begins the last chain that packets go through on the host.
func (u *uplink) addProbe(post *nftables.Chain) {
	for _, from := range []netip.Addr{u.subnet.onUplink(placeUplink).V4, u.subnet.onUplink(placeUplink).V6} {
		to := probed(from.Is6()).Addr()
		u.nft.AddRule(&nftables.Rule{Table: post.Table, Chain: post, Exprs: join(
			within(netip.PrefixFrom(from, from.BitLen()), false), within(netip.PrefixFrom(to, to.BitLen()), true),
			[]expr.Any{&expr.Counter{}}, drop())})
	}
}

// CheckForwarding returns a *ClosedError if a firewall of the host drops what the run sends to the
// world. It tries, as rules of all kinds may do that, and reads tables only to name them.
func (n *Bridged) CheckForwarding(ctx context.Context) error {
	if closed := legacyFirewall(); closed != nil {
		return closed
	}
	n.mu.Lock()
	router, uplink := n.router, n.uplink
	n.mu.Unlock()
	if router == nil || uplink == nil {
		return nil
	}
	nft, err := nftables.New() // the run's own socket is in use
	if err != nil {
		return fmt.Errorf("open an nftables socket: %w", err)
	}
	host := *uplink
	host.nft = nft
	for _, v6 := range []bool{false, true} {
		if !host.probes[index(v6)] {
			continue // it leads nowhere, or to the host itself
		}
		carried, err := host.carries(ctx, router, v6)
		if err != nil {
			return fmt.Errorf("try whether the host carries packets of private networks: %w", err)
		}
		if !carried {
			return host.closedBy()
		}
	}
	return nil
}

// check is a CheckForwarding that goes on beside the run.
type check struct {
	stop    context.CancelFunc
	running crash.Group
}

// beginCheck warns if the network leads nowhere: at once where tables tell that, and soon where only
// a packet does. mu is held.
func (n *Bridged) beginCheck() *check {
	if n.o.Warn == nil {
		return nil
	}
	warn := func(closed *ClosedError) {
		line := closed.Error() + ": they reach no address outside the run"
		if remedy := closed.Remedy(); remedy != "" {
			line += " (" + remedy + ")"
		}
		n.o.Warn(line)
	}
	if closed := legacyFirewall(); closed != nil {
		warn(closed)
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &check{stop: stop}
	c.running.Go(func() {
		if closed := (*ClosedError)(nil); errors.As(n.CheckForwarding(ctx), &closed) {
			warn(closed)
		}
	})
	return c
}

// end ends the check. nil: there is none.
func (c *check) end() error {
	if c == nil {
		return nil
	}
	c.stop()
	return c.running.Wait()
}

// carries reports whether the host carries what the router sends to the world. A check that is
// cancelled finds nothing wrong.
func (u *uplink) carries(ctx context.Context, router *router, v6 bool) (bool, error) {
	var socket int
	err := inside(router.namespace, func() (err error) {
		socket, err = beginConnecting(probed(v6))
		return err
	})
	if err != nil {
		if errors.Is(err, unix.ENETUNREACH) {
			return true, nil // without a route it is no firewall
		}
		return false, err
	}
	defer unix.Close(socket)
	const longest = 20 // ms
	end := time.Now().Add(probeTime)
	for pause := 1; ; pause = min(2*pause, longest) {
		answer := []unix.PollFd{{Fd: int32(socket), Events: unix.POLLOUT}}
		if _, err := unix.Poll(answer, pause); err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		switch passed, err := u.countedProbes(v6); {
		case err != nil || passed:
			return true, err
		case ctx.Err() != nil:
			return true, nil
		case answer[0].Revents != 0:
			reason, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_ERROR)
			return unix.Errno(reason) == unix.ENETUNREACH, err
		case time.Now().After(end):
			return false, nil
		}
	}
}

func beginConnecting(to netip.AddrPort) (socket int, err error) {
	domain, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		domain, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	socket, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Connect(socket, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return 0, errors.Join(err, unix.Close(socket))
	}
	return socket, nil
}

// countedProbes reports whether packets of addProbe have come through.
func (u *uplink) countedProbes(v6 bool) (bool, error) {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + u.run}
	rules, err := u.nft.GetRules(table, &nftables.Chain{Name: postrouting, Table: table})
	if err != nil || len(rules) < 2 {
		return false, err
	}
	for _, e := range rules[index(v6)].Exprs {
		if counter, ok := e.(*expr.Counter); ok {
			return counter.Packets > 0, nil
		}
	}
	return false, nil
}

// closedBy names the firewall that has dropped a packet, as well as can be told: all chains through
// which forwarded packets go and that may refuse some.
func (u *uplink) closedBy() error {
	chains, err := u.foreignForwarding()
	if err != nil {
		return err
	}
	var names, commands []string
	for _, chain := range chains {
		if chain.Table.Name == "firewalld" {
			return &ClosedError{"firewalld", []string{
				"firewall-cmd --permanent --zone=trusted --add-interface=" + linkPrefix + "+", "firewall-cmd --reload"}}
		}
		rules, err := u.nft.GetRules(chain.Table, chain)
		if err != nil || len(rules) == 0 && (chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop) {
			continue // somebody has just removed it, or it refuses nothing
		}
		name := fmt.Sprintf("%s %s %s", familyName(chain.Table.Family), chain.Table.Name, chain.Name)
		names = append(names, name)
		commands = append(commands, "nft insert rule "+name+` iifname "`+linkPrefix+`*" accept`,
			"nft insert rule "+name+` oifname "`+linkPrefix+`*" ct state established,related accept`)
	}
	if names == nil {
		return &ClosedError{firewall: "a firewall of the host"}
	}
	return &ClosedError{"the host's firewall (nftables chain " + strings.Join(names, " or ") + ")", commands}
}

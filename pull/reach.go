package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// reach decides where the answers of one registry or mirror may send the runner: which addresses
// may be connected to for a redirect or a token server that it names.
//
// The attack: a public registry redirects to the cloud's metadata service, to a router or to a
// server that trusts its own network. A name in the redirect can hide this, and so can a name whose
// address changes between two look-ups (DNS rebinding). So each address is judged when a connection
// to it is opened. A registry in a private network may redirect within private networks, as such
// registries do.
type reach struct {
	home    string // HOST or HOST:PORT of the registry
	allowed Targets

	// Where the registry's own answers came from. One answer from a public address makes it public.
	public, private atomic.Bool
}

// Targets are hosts and networks that a registry may send the runner to although they are not
// public.
type Targets struct {
	Any   bool     // any address, including those of this machine
	Hosts []string // HOST, HOST:PORT, an address or a network such as 10.1.0.0/16
}

// CheckTarget returns an error if the text is not valid in Targets.Hosts.
func CheckTarget(text string) error {
	if _, err := netip.ParsePrefix(text); err == nil {
		return nil
	}
	if _, err := netip.ParseAddr(text); err == nil || hostPattern().MatchString(text) {
		return nil
	}
	return fmt.Errorf("it is not HOST, HOST:PORT, an address or a network such as 10.1.0.0/16")
}

// has reports whether the address of HOST:PORT is one of the targets.
func (t Targets) has(hostport string, ip netip.Addr) bool {
	return t.Any || slices.ContainsFunc(t.Hosts, func(text string) bool {
		if network, err := netip.ParsePrefix(text); err == nil {
			return network.Contains(ip)
		}
		if address, err := netip.ParseAddr(text); err == nil {
			return address.Unmap() == ip
		}
		return strings.EqualFold(text, hostport) || strings.EqualFold(text, hostname(hostport))
	})
}

// mayReach reports whether a connection to ip may be opened for HOST:PORT.
func (r *reach) mayReach(hostport string, ip netip.Addr) bool {
	ip = embedded(ip)
	switch {
	case !isInward(ip), r.allowed.has(hostport, ip):
		return true
	case strings.EqualFold(hostname(hostport), hostname(r.home)):
		return !r.public.Load() // a public name whose address has become private is an attack
	case isMetadata(ip):
		return false
	}
	return r.private.Load() && !r.public.Load()
}

func (r *reach) refuse(hostport string, ip netip.Addr) error {
	host := hostname(hostport)
	if host != ip.String() {
		host = fmt.Sprintf("%s (%s)", host, ip)
	}
	home := shownHost(r.home)
	if strings.EqualFold(hostname(hostport), hostname(r.home)) {
		return refusal(fmt.Sprintf("%s had a public address and now has %s: refused (DNS rebinding? if it is meant to be, set allow_private: true for %[1]s)", home, ip))
	}
	return refusal(fmt.Sprintf("a redirect or token server of %s leads to %s, which is not a public address: refused (if it is meant to be, name it in allow_private of %[1]s in the settings)",
		home, host))
}

// answered notes where an answer of the registry itself came from.
func (r *reach) answered(from netip.Addr) {
	if isInward(embedded(from)) {
		r.private.Store(true)
	} else {
		r.public.Store(true)
	}
}

// isInward reports whether an address belongs to this machine or to a network that is not the
// Internet (RFC 1918, 4193, 3927, 6598 and the special addresses of RFC 6890), or hides such an
// address: those of a site's own NAT64 (RFC 8215) and of Teredo (RFC 4380) have one inside.
func isInward(ip netip.Addr) bool {
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() ||
		slices.ContainsFunc(special, func(n netip.Prefix) bool { return n.Contains(ip) })
}

var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"),
}

// isMetadata reports whether clouds hand out an instance's credentials at the address. Not even a
// private registry has a reason to send anyone there.
func isMetadata(ip netip.Addr) bool {
	return ip.IsLinkLocalUnicast() || ip == netip.MustParseAddr("fd00:ec2::254") || ip == netip.MustParseAddr("100.100.100.200")
}

// embedded returns the IPv4 address inside an IPv6 address (mapped addresses, NAT64 of RFC 6052,
// 6to4 of RFC 3056), and any other address unchanged.
func embedded(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip
	}
	b := ip.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}

// targetKey is the context key of the HOST:PORT that a request is for.
type targetKey struct{}

// request returns a request whose connection the dialer judges, and a pointer that receives the
// remote address.
func (r *reach) request(q *http.Request) (*http.Request, *atomic.Pointer[netip.Addr]) {
	used := new(atomic.Pointer[netip.Addr])
	ctx := context.WithValue(q.Context(), targetKey{}, withPort(q.URL))
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if at, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String()); err == nil {
			ip := at.Addr()
			used.Store(&ip)
		}
	}})
	return q.WithContext(ctx), used
}

// withPort returns HOST:PORT in the form that a transport dials.
func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// dialer returns a function that opens connections for the registry's requests and refuses
// addresses that they must not reach. An address other than the request's target is a proxy from
// the environment.
func (r *reach) dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := net.Dialer{Timeout: timeout}
		if target, _ := ctx.Value(targetKey{}).(string); strings.EqualFold(target, address) {
			dialer.Control = func(_, resolved string, _ syscall.RawConn) error {
				at, err := netip.ParseAddrPort(resolved)
				if err == nil && !r.mayReach(address, at.Addr()) {
					err = r.refuse(address, at.Addr())
				}
				return err
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
}

// judging wraps a dial function of the caller. The remote address is known only once its connection
// is open.
func (r *reach) judging(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if target, _ := ctx.Value(targetKey{}).(string); err != nil || !strings.EqualFold(target, address) {
			return conn, err
		}
		at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err == nil && !r.mayReach(address, at.Addr()) {
			return nil, errors.Join(r.refuse(address, at.Addr()), conn.Close())
		}
		return conn, nil
	}
}

// checkProxied judges a request that a proxy carries. The proxy resolves names, so only addresses
// can be judged.
func (r *reach) checkProxied(u *url.URL) error {
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil || r.mayReach(withPort(u), ip) {
		return nil
	}
	if home, err := netip.ParseAddr(hostname(r.home)); err == nil && isInward(embedded(home)) && !isMetadata(embedded(ip)) {
		return nil
	}
	return r.refuse(withPort(u), ip)
}

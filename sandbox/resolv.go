package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/sandbox/network"
)

// upstreamResolv is where systemd-resolved lists its own upstream name servers, behind its stub at
// 127.0.0.53; see systemd-resolved.service(8).
const upstreamResolv = "/run/systemd/resolve/resolv.conf"

// errLoopbackResolver says that a namespace cannot reach any of the host's name servers.
var errLoopbackResolver = errors.New("the host's name servers are loopback addresses, which this network cannot reach (set dns to the address of another)")

// resolvFile returns a step's /etc/resolv.conf: the host's file, reduced to the servers that the
// step's network can reach, with the corresponding lines replaced by the step's own settings.
// Without a network it has only those settings. On a bridge the only server is the run's, which
// forwards to the others.
func (h *Host) resolvFile(step *Step, endpoint *network.Endpoint) ([]byte, error) {
	var base []byte
	if step.Network != NetworkNone {
		var err error
		if base, err = readOrNothing("/etc/resolv.conf"); err != nil {
			return nil, err
		}
	}
	if endpoint != nil {
		names := step.Names
		names.DNS = []string{h.networks.bridged.Router().V4.String()}
		return overrideResolv(base, &names), nil
	}
	if !onHostNetwork(step) && len(step.Names.DNS) == 0 {
		upstream, err := readOrNothing(upstreamResolv)
		if err != nil {
			return nil, err
		}
		if base, err = reachableResolv(base, upstream); err != nil {
			return nil, err
		}
	}
	return overrideResolv(base, &step.Names), nil
}

// reachableResolv returns own without the name servers that only the host itself can reach. When
// none is left, it returns upstream, filtered in the same way.
func reachableResolv(own, upstream []byte) ([]byte, error) {
	reachable, left, all := withoutLoopback(own)
	if left > 0 || all == 0 {
		return reachable, nil
	}
	if reachable, left, _ = withoutLoopback(upstream); left > 0 {
		return reachable, nil
	}
	return nil, errLoopbackResolver
}

// withoutLoopback removes the name servers at addresses of the host's own loopback or link. It
// returns the number of servers left and their original number.
func withoutLoopback(resolv []byte) (text []byte, left, all int) {
	for line := range strings.Lines(string(resolv)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			all++
			address, err := netip.ParseAddr(fields[1])
			if err != nil || address.IsLoopback() || address.IsLinkLocalUnicast() && address.Is6() || address.IsUnspecified() {
				continue
			}
			left++
		}
		text = append(text, line...)
	}
	return text, left, all
}

// overrideResolv replaces the lines of base that a step's settings override.
func overrideResolv(base []byte, names *Names) []byte {
	var lines, replaced []string
	if len(names.DNS) > 0 {
		lines = append(lines, "nameserver "+strings.Join(names.DNS, "\nnameserver "))
		replaced = append(replaced, "nameserver")
	}
	if len(names.DNSSearch) > 0 {
		lines = append(lines, "search "+strings.Join(names.DNSSearch, " "))
		replaced = append(replaced, "search", "domain")
	}
	if len(names.DNSOptions) > 0 {
		lines = append(lines, "options "+strings.Join(names.DNSOptions, " "))
		replaced = append(replaced, "options")
	}
	if len(lines) == 0 {
		return base
	}
	var text strings.Builder
	for line := range strings.Lines(string(base)) {
		if fields := strings.Fields(line); len(fields) > 0 && !slices.Contains(replaced, fields[0]) {
			text.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	text.WriteString(strings.Join(lines, "\n") + "\n")
	return []byte(text.String())
}

// resolvOption matches an option of resolv.conf(5), such as ndots:2.
var resolvOption = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9-]+(:[0-9]+)?$`) })

func checkResolver(names *Names) error {
	for _, server := range names.DNS {
		if err := checkAddress(server); err != nil {
			return fmt.Errorf("dns: %w", err)
		}
	}
	for _, domain := range names.DNSSearch {
		if domain != "." && !hostNamePattern().MatchString(domain) {
			return fmt.Errorf("dns_search: %q is not a domain", domain)
		}
	}
	for _, option := range names.DNSOptions {
		if !resolvOption().MatchString(option) {
			return fmt.Errorf("dns option %q: must be as in resolv.conf(5), such as ndots:2", option)
		}
	}
	return nil
}

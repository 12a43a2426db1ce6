package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/sandbox/network"
)

// hostsFile returns a step's /etc/hosts: on the host's network the host's own, followed by the
// step's name, the services that it can reach and the entries that it asks for. On the host's
// network services are at 127.0.0.1, as in a shared namespace; on a bridge each has its own
// address.
func (h *Host) hostsFile(step *Step, hostname string, endpoint *network.Endpoint) ([]byte, error) {
	hosts := []byte("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if onHostNetwork(step) {
		var err error
		if hosts, err = readOrNothing("/etc/hosts"); err != nil {
			return nil, err
		}
	}
	if len(hosts) > 0 && !bytes.HasSuffix(hosts, []byte("\n")) {
		hosts = append(hosts, '\n')
	}
	add := func(address string, names ...string) {
		hosts = append(hosts, address+"\t"+strings.Join(names, " ")+"\n"...)
	}
	switch {
	case endpoint != nil:
		for _, own := range []netip.Addr{endpoint.V4, endpoint.V6} {
			add(own.String(), append([]string{hostname}, without(step.Aliases, []string{hostname})...)...)
		}
	case !onHostNetwork(step) || step.Names.Hostname != "":
		add("127.0.0.1", hostname)
	}
	for _, peer := range step.Peers {
		addresses, err := h.addressesOf(step, &peer, endpoint)
		if err != nil {
			return nil, err
		}
		for _, address := range addresses {
			add(address.String(), peer.Names...)
		}
	}
	return hosts, h.addExtraHosts(step, endpoint, add)
}

// addressesOf returns the addresses at which a step reaches a peer, or none when their networks are
// not connected. The peer's name is then unknown: a name that led to the step's own loopback would
// make it talk to the wrong program.
func (h *Host) addressesOf(step *Step, peer *Peer, endpoint *network.Endpoint) ([]netip.Addr, error) {
	loopback := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	isHost := peer.Network == "" || peer.Network == NetworkHost
	switch {
	case isHost && onHostNetwork(step):
		return loopback, nil
	case isHost || peer.Network != step.Network || peer.Network == NetworkNone || len(peer.Names) == 0:
		return nil, nil
	case endpoint == nil: // a shared namespace, or none exists because only the specification is shown
		return loopback, nil
	case slices.Equal(peer.Names, step.Aliases):
		return nil, nil // the step itself
	}
	a, err := h.networks.bridged.Pin(peer.Names[0])
	return []netip.Addr{a.V4, a.V6}, err
}

func (h *Host) addExtraHosts(step *Step, endpoint *network.Endpoint, add func(address string, names ...string)) error {
	for _, host := range step.Names.ExtraHosts {
		if host.Address != container.HostGateway {
			add(host.Address, host.Name)
			continue
		}
		switch {
		case onHostNetwork(step):
			add("127.0.0.1", host.Name)
			continue
		case step.Network != NetworkPrivate || h.networks.bridged == nil:
			return fmt.Errorf("extra host %s: %s needs network: private or host, and no CNI configuration", host.Name, container.HostGateway)
		case endpoint == nil:
			continue // only the specification is shown
		}
		gateway, err := h.networks.bridged.HostGateway()
		if err != nil {
			return fmt.Errorf("extra host %s: %w", host.Name, err)
		}
		add(gateway.V4.String(), host.Name)
		add(gateway.V6.String(), host.Name)
	}
	return nil
}

// hostNamePattern matches a host name as in RFC 1123, plus underscores, which names of services may
// have.
var hostNamePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_.])?$`)
})

// hostnameMax is the kernel's limit for a machine's host name in bytes; see sethostname(2).
const hostnameMax = 64

// checkNames rejects invalid names and addresses. A space or a line break in one would add entries
// of somebody else's choice to /etc/hosts or /etc/resolv.conf.
func checkNames(step *Step) error {
	names := &step.Names
	if name := names.Hostname; name != "" && (!hostNamePattern().MatchString(name) || len(name) > hostnameMax) {
		return fmt.Errorf("hostname %q: must be of letters, digits, '-', '_' and '.', at most %d of them", name, hostnameMax)
	}
	all := slices.Clone(step.Aliases)
	for _, peer := range step.Peers {
		all = append(all, peer.Names...)
	}
	for _, name := range all {
		if !hostNamePattern().MatchString(name) {
			return fmt.Errorf("service name %q: not a host name", name)
		}
	}
	for _, host := range names.ExtraHosts {
		if !hostNamePattern().MatchString(host.Name) {
			return fmt.Errorf("extra host %q: not a host name", host.Name)
		}
		if err := checkAddress(host.Address); err != nil && host.Address != container.HostGateway {
			return fmt.Errorf("extra host %s: %w", host.Name, err)
		}
	}
	return errors.Join(checkResolver(names), network.CheckPorts(names.Ports))
}

// checkAddress rejects a zone, the part of an IPv6 address after a percent sign, because it may be
// any text.
func checkAddress(text string) error {
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return fmt.Errorf("%q is not an IP address", text)
	}
	return nil
}

func readOrNothing(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

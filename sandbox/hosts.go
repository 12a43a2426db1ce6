package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"sync"
)

// hostsFile is a step's /etc/hosts: on the host's network the host's own, then
// the step's name and the run's services, all of them 127.0.0.1, then what the
// step asks for.
func hostsFile(step *Step, hostname string) ([]byte, error) {
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
	names := step.HostNames
	if !onHostNetwork(step) || step.Names.Hostname != "" {
		names = append([]string{hostname}, names...)
	}
	for _, name := range names {
		hosts = append(hosts, "127.0.0.1\t"+name+"\n"...)
	}
	for _, host := range step.Names.ExtraHosts {
		hosts = append(hosts, host.Address+"\t"+host.Name+"\n"...)
	}
	return hosts, nil
}

// hostNamePattern is a host name as in RFC 1123, and with the underscores that
// names of services have.
var hostNamePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_.])?$`)
})

// hostnameMax is the kernel's bound on what a machine calls itself; see
// sethostname(2).
const hostnameMax = 64

// checkNames refuses what is no name or address. A space or a line break in
// one would add entries of somebody else's choice to /etc/hosts or
// /etc/resolv.conf.
func checkNames(step *Step) error {
	names := &step.Names
	if name := names.Hostname; name != "" && (!hostNamePattern().MatchString(name) || len(name) > hostnameMax) {
		return fmt.Errorf("hostname %q: must be of letters, digits, '-', '_' and '.', at most %d of them", name, hostnameMax)
	}
	for _, name := range step.HostNames {
		if !hostNamePattern().MatchString(name) {
			return fmt.Errorf("service name %q: no host name", name)
		}
	}
	for _, host := range names.ExtraHosts {
		if !hostNamePattern().MatchString(host.Name) {
			return fmt.Errorf("extra host %q: no host name", host.Name)
		}
		if err := checkAddress(host.Address); err != nil {
			return fmt.Errorf("extra host %s: %w", host.Name, err)
		}
	}
	return errors.Join(checkResolver(names), checkPorts(names.Ports))
}

// checkAddress takes no zone, the part of an IPv6 address behind a percent
// sign, which may be any text.
func checkAddress(text string) error {
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return fmt.Errorf("%q is no IP address", text)
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

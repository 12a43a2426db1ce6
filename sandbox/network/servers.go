package network

import (
	"errors"
	"net/netip"
	"os"
	"strings"
)

// HostServers are the name servers of the host's resolv.conf(5). Those on its
// loopback count: the run's name server asks them from the host's network.
func HostServers() ([]string, error) {
	data, err := os.ReadFile("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var servers []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if _, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, fields[1])
		}
	}
	return servers, nil
}

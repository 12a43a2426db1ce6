package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

const loopback = "127.0.0.1"

// portRange is where a step may publish its ports.
type portRange struct {
	address     string // of the host; "" is any, and 0.0.0.0 all of them
	first, last int    // ports of the host
}

// parsePorts reads ADDRESS or ADDRESS:FIRST-LAST. * stands for any address.
func parsePorts(text string) (portRange, error) {
	address, ports, given := strings.Cut(text, ":")
	r := portRange{address: address, first: 1, last: 65535}
	invalid := errors.New("is not where ports may be published: write it like 127.0.0.1 or 127.0.0.1:8000-8999")
	if address == "*" {
		r.address = ""
	} else if ip, err := netip.ParseAddr(address); err != nil || !ip.Is4() {
		return r, invalid
	}
	if !given {
		return r, nil
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	var err, lastErr error
	r.first, err = strconv.Atoi(first)
	r.last, lastErr = strconv.Atoi(last)
	if err != nil || lastErr != nil || r.first < 1 || r.last > 65535 || r.first > r.last {
		return r, invalid
	}
	return r, nil
}

func (c *check) ports() {
	for _, port := range c.step.Names.Ports {
		address, number := port.HostIP, port.Host
		if address == "" {
			address = loopback
		}
		if number == 0 {
			number = port.Container
		}
		if !slices.ContainsFunc(c.rules.ports, func(r portRange) bool { return r.has(address, number) }) {
			c.deny("ports", portText(address, number, port), notListed, "ports")
		}
	}
}

// has compares addresses by value: 127.0.0.1 is also ::ffff:127.0.0.1.
func (r portRange) has(address string, port int) bool {
	if port < r.first || port > r.last {
		return false
	}
	if r.address == "" {
		return true
	}
	asked, err := netip.ParseAddr(address)
	allowed, allowedErr := netip.ParseAddr(r.address)
	return err == nil && allowedErr == nil && asked.Unmap() == allowed
}

func portText(address string, number int, port pipeline.Port) string {
	return fmt.Sprintf("%s:%d:%d/%s", address, number, port.Container, port.Protocol)
}

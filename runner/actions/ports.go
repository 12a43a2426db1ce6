package actions

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// publishedPorts reads port mappings: HOST:CONTAINER[/PROTOCOL], or CONTAINER alone for a free
// port of the host.
func publishedPorts(mappings []string) ([]pipeline.Port, error) {
	var ports []pipeline.Port
	for _, mapping := range mappings {
		text, protocol, given := strings.Cut(mapping, "/")
		if !given {
			protocol = "tcp"
		}
		host, container, both := strings.Cut(text, ":")
		if !both {
			host, container = "", text
		}
		port := pipeline.Port{Protocol: protocol}
		var err error
		if port.Container, err = portNumber(container); err != nil || protocol != "tcp" && protocol != "udp" {
			return nil, fmt.Errorf("port %q: must be CONTAINER or HOST:CONTAINER, with /tcp or /udp behind it", mapping)
		}
		if host == "" {
			port.Host, err = freePort(protocol)
		} else {
			port.Host, err = portNumber(host)
		}
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", mapping, err)
		}
		ports = append(ports, port)
	}
	return ports, nil
}

func portNumber(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port", text)
	}
	return int(n), nil
}

// freePort is one of the host that nothing uses at this moment.
func freePort(protocol string) (int, error) {
	if protocol == "udp" {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).Port, nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// portContext is how the runner wants to hear of ports.
func portContext(ports []pipeline.Port) map[string]string {
	context := map[string]string{}
	for _, port := range ports {
		context[strconv.Itoa(port.Container)] = strconv.Itoa(port.Host)
	}
	return context
}

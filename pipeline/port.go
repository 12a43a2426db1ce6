package pipeline

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// FreePort as the host's port of a [Port] that [ParsePorts] returns is any port of the host
// that is free. Whoever publishes the port chooses one first.
const FreePort = -1

// The forms of published ports.
var (
	portForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:(?:([0-9.]+|\[[0-9A-Fa-f:.]+\]):)?([0-9-]*):)?([0-9-]+)(?:/(tcp|udp))?$`)
	})
	portRangeForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]{1,5})(?:-([0-9]{1,5}))?$`) })
)

// ParsePorts reads published ports as docker writes them: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL],
// where HOST and CONTAINER are ports or ranges of the same length, such as 8000-8009. HOST may
// be empty or 0, which is [FreePort]; without HOST and its colon the port of the host is 0, the
// same as the container's. The error is an [Error] without position.
func ParsePorts(text string) ([]Port, error) {
	const hint = "write it like 8080:80, 127.0.0.1:8080:80, 8000-8009:8000-8009 or 53:53/udp"
	parts := portForm().FindStringSubmatch(text)
	if parts == nil {
		return nil, &Error{Message: fmt.Sprintf("%q is not a port", text), Hint: hint}
	}
	port := Port{HostIP: strings.Trim(parts[1], "[]"), Protocol: "tcp"}
	if parts[4] != "" {
		port.Protocol = parts[4]
	}
	if port.HostIP != "" && !isAddress(port.HostIP) {
		return nil, &Error{Message: fmt.Sprintf("%q is not an IP address", port.HostIP)}
	}
	container, last, err := portNumbers(text, parts[3])
	if err != nil {
		return nil, err
	}
	count := last - container + 1
	host, isFree := 0, strings.Contains(text, ":") && (parts[2] == "" || parts[2] == "0")
	if !isFree && parts[2] != "" {
		if host, last, err = portNumbers(text, parts[2]); err != nil {
			return nil, err
		}
		if last-host+1 != count {
			return nil, &Error{Message: fmt.Sprintf("%q has ranges of different lengths", text), Hint: hint}
		}
	}
	var ports []Port
	for i := range count {
		p := port
		p.Container = container + i
		switch {
		case isFree:
			p.Host = FreePort
		case host > 0:
			p.Host = host + i
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// portNumbers reads a port, or a range of them.
func portNumbers(text, part string) (first, last int, err error) {
	numbers := portRangeForm().FindStringSubmatch(part)
	if numbers == nil {
		return 0, 0, &Error{Message: fmt.Sprintf("%q is not a port", text), Hint: "a range is written like 8000-8009"}
	}
	first, _ = strconv.Atoi(numbers[1]) // five digits at most
	if last = first; numbers[2] != "" {
		last, _ = strconv.Atoi(numbers[2])
	}
	for _, number := range []int{first, last} {
		if number < 1 || number > 65535 {
			return 0, 0, &Error{Message: fmt.Sprintf("the port %d is not from 1 to 65535", number)}
		}
	}
	if last < first {
		return 0, 0, &Error{Message: fmt.Sprintf("the range of ports %s ends before it begins", part)}
	}
	return first, last, nil
}

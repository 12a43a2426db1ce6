package pipeline

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/container"
)

// portsTogether: on the host's network a port of the step is one of the host.
func (p *parser) portsTogether(v value, s *Step) {
	if ports, given := v.get("ports"); given && s.Network != "private" {
		p.misplaced(ports, "needs network: private", "on the host's network every port is already the host's")
	}
}

// maxHostname is Linux's HOST_NAME_MAX.
const maxHostname = 64

func (p *parser) hostname(v value) string {
	text := p.matching(v, hostName(), "a host name has letters, digits, - and dots")
	if len(text) > maxHostname {
		p.wrong(v, fmt.Sprintf("has %d characters, and Linux takes %d at most", len(text), maxHostname), "")
		return ""
	}
	return text
}

func (p *parser) address(v value) string {
	text := p.word(v)
	if text != "" && !isAddress(text) {
		p.wrong(v, fmt.Sprintf("%q is not an IP address", text), "")
		return ""
	}
	return text
}

// hostAddress reads an address, or the word for the host itself.
func (p *parser) hostAddress(v value) string {
	if v.text == container.HostGateway {
		return v.text
	}
	return p.address(v)
}

var zoneForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]*$`) })

// isAddress: ParseAddr takes any text for the zone of an IPv6 address, line ends too.
func isAddress(text string) bool {
	address, err := netip.ParseAddr(text)
	return err == nil && zoneForm().MatchString(address.Zone())
}

// The forms of what becomes a line of /etc/resolv.conf and /etc/hosts. A line end or
// a space in it would write further entries.
var (
	domainForm         = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\.|[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?)$`) })
	resolverOptionForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9-]+(:[0-9]+)?$`) })
	extraHostForm      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`) })
)

func (p *parser) domain(v value) string {
	return p.matching(v, domainForm(), "write a domain like example.org")
}

func (p *parser) resolverOption(v value) string {
	return p.matching(v, resolverOptionForm(), "write it like ndots:2 or rotate, see resolv.conf(5)")
}

// maxPeerName bounds the name of a host, in bytes, as RFC 1035 has it.
const maxPeerName = 253

// IsPeerName reports whether other steps can reach a step by a name. It may have
// underscores, which names of services often have, unlike what a host calls itself.
func IsPeerName(name string) bool {
	return len(name) <= maxPeerName && extraHostForm().MatchString(name)
}

// alias reads a name of a step, which /etc/hosts and the run's name server have.
func (p *parser) alias(v value) string {
	text := p.word(v)
	if text != "" && !IsPeerName(text) {
		p.wrong(v, fmt.Sprintf("%q is not valid as the name of a host", text), "")
		return ""
	}
	return text
}

// extraHosts reads a map from names to addresses, or a list of name:address.
func (p *parser) extraHosts(v value) []HostAddress {
	var hosts []HostAddress
	switch v.kind {
	case mapKind:
		for _, pair := range v.pairs {
			field := v.field(pair)
			if !extraHostForm().MatchString(pair.name) {
				p.misplaced(field, fmt.Sprintf("%q is not valid as the name of a host", pair.name), "")
			}
			hosts = append(hosts, HostAddress{Name: pair.name, Address: p.hostAddress(field)})
		}
	case listKind:
		for i := range v.items {
			hosts = append(hosts, p.extraHost(v.item(i)))
		}
	default:
		p.wrongType(v, "a map or a list")
	}
	return hosts
}

func (p *parser) extraHost(v value) HostAddress {
	text := p.word(v)
	if text == "" {
		return HostAddress{}
	}
	cut := strings.IndexAny(text, ":=")
	name, address := text[:max(cut, 0)], strings.Trim(text[cut+1:], "[]")
	if !isAddress(address) && address != container.HostGateway || !extraHostForm().MatchString(name) {
		p.wrong(v, fmt.Sprintf("%q is not a name and an address", text), "write it like db:192.0.2.7")
		return HostAddress{}
	}
	return HostAddress{Name: name, Address: address}
}

func (p *parser) ports(v value) []Port {
	if v.kind != listKind {
		p.wrongType(v, "a list")
		return nil
	}
	var ports []Port
	taken := takenPorts[bool]{}
	for i := range v.items {
		item := v.item(i)
		published := p.portRange(item)
		if p.published += len(published); p.published > maxPorts {
			p.wrong(item, fmt.Sprintf("the file publishes more than the %d ports allowed", maxPorts), "")
			return ports
		}
		for _, port := range published {
			if len(taken.take(port, true)) > 0 {
				p.wrong(item, fmt.Sprintf("the port %d of the host is published twice", hostPort(port)), "")
				continue
			}
			ports = append(ports, port)
		}
	}
	return ports
}

func hostPort(p Port) int {
	if p.Host == 0 {
		return p.Container
	}
	return p.Host
}

// portRange reads the ports of one item of the list.
func (p *parser) portRange(v value) []Port {
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "a string or a number")
		return nil
	}
	ports, err := ParsePorts(v.text)
	if err == nil && ports[0].Host == FreePort {
		err = &Error{Message: fmt.Sprintf("%q leaves open which port of the host it is, and nothing could find it", v.text), Hint: "name one, like 8080:80"}
	}
	if err != nil {
		p.report(v, err)
		return nil
	}
	return ports
}

package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/stepexec/stepexec/sandbox"
)

// checkFree makes sure that nobody holds a port that the step's probes ask. On the host's
// network, the server of another run may listen there, and the steps would work on its data.
func (rd *readiness) checkFree(box *sandbox.Sandbox) error {
	if rd == nil {
		return nil
	}
	listeners, shared, err := box.Listeners(rd.addresses()...)
	if err != nil || !shared {
		return err
	}
	for _, port := range rd.probedPorts() {
		if holder, ok := listeners.Foreign[port]; ok {
			return fmt.Errorf("port %d is held by %s, which would be taken for this %s (use another port, or network: private)", port, holder, rd.node.role())
		}
	}
	return nil
}

// probedPorts are the ports of the step's own that its probes ask.
func (rd *readiness) probedPorts() []uint16 {
	var ports []uint16
	for _, p := range rd.probes {
		if port, err := strconv.ParseUint(p.port, 10, 16); err == nil {
			ports = append(ports, uint16(port))
		}
	}
	return ports
}

// addresses are where the step's probes ask it.
func (rd *readiness) addresses() []netip.Addr {
	var all []netip.Addr
	for _, p := range rd.probes {
		if p.at.IsValid() {
			all = append(all, p.at)
		}
	}
	return all
}

// checkOwner looks, once a probe has succeeded, whether it was the step that answered. A port
// that a probe asks must be the step's own. A program inside, such as a health check, asks
// ports that only it knows: as long as the step listens nowhere at all, they are taken for
// those that the image exposes and those that the command lines of step and probe name.
func (rd *readiness) checkOwner(box *sandbox.Sandbox) error {
	listeners, shared, err := box.Listeners(rd.addresses()...)
	if err != nil || !shared {
		return err
	}
	ports := rd.probedPorts()
	if len(ports) == 0 && len(listeners.Own) == 0 {
		ports = rd.claimed
	}
	for _, port := range rd.asked {
		if !listeners.Own[port] {
			ports = append(ports, port)
		}
	}
	for _, port := range ports {
		if holder, ok := listeners.Foreign[port]; ok {
			return &foreignPortError{port, holder, rd.node.role()}
		}
	}
	return nil
}

// foreignPortError says that a probe was answered by somebody else than the step.
type foreignPortError struct {
	port         uint16
	holder, role string
}

func (e *foreignPortError) Error() string {
	return fmt.Sprintf("port %d is held by %s, not by this %s (use another port, or network: private)", e.port, e.holder, e.role)
}

// exposedPorts are the TCP ports that an image says its program listens on.
func exposedPorts(exposed map[string]struct{}) []uint16 {
	var ports []uint16
	for entry := range exposed {
		text, protocol, _ := strings.Cut(entry, "/")
		port, err := strconv.ParseUint(text, 10, 16)
		if err == nil && (protocol == "" || protocol == "tcp") {
			ports = append(ports, uint16(port))
		}
	}
	return ports
}

// namedPorts are the ports that a step's command line and its variables name.
func (r *run) namedPorts(n *node) []uint16 {
	return r.portsIn(n, slices.Concat(n.step.Entrypoint, n.step.Args, []string{string(n.step.Script)}, ownPorts(n.step.Env)))
}

// ownPortVariable matches the names of variables that a program takes for the port to listen on, such
// as PORT, PGPORT, HTTP_PORT and KC_HTTP_PORT. Those like DB_PORT are of somebody else.
var ownPortVariable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([^_]*|(.*_)?(HTTPS?|TCP|LISTEN|BIND)_|(SERVER|APP|WEB|GRPC|NODE)_)PORT$`)
})

// ownPorts are the values of such variables. One that stands beside a host, as HTTP_PORT beside
// HTTP_HOST, is of that host, unless the host is a word for all addresses to listen on.
func ownPorts(environment []string) []string {
	values := map[string]string{}
	for _, entry := range environment {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	var ports []string
	for name, value := range values {
		if !ownPortVariable().MatchString(name) {
			continue
		}
		prefix := strings.TrimSuffix(name, "PORT")
		at := cmp.Or(values[prefix+"HOST"], values[prefix+"ADDR"], values[prefix+"ADDRESS"], "0.0.0.0")
		if address, err := netip.ParseAddr(at); err == nil && address.IsUnspecified() {
			ports = append(ports, value)
		}
	}
	return ports
}

// portsIn are the numbers in texts that can be ports of the step. A command line that speaks
// of another service names that one's.
func (r *run) portsIn(n *node, texts []string) []uint16 {
	var words []string
	for _, text := range texts {
		words = append(words, strings.FieldsFunc(text, func(c rune) bool { return !isOfWord(c) })...)
	}
	for _, other := range r.nodes {
		if other != n && other.service && slices.ContainsFunc(r.aliases(other), func(name string) bool { return slices.Contains(words, name) }) {
			return nil
		}
	}
	var ports []uint16
	for _, word := range words {
		if port, err := strconv.ParseUint(word, 10, 16); err == nil && port > 0 {
			ports = append(ports, uint16(port))
		}
	}
	return ports
}

// askedBy are the ports of the step itself that a command line asks: the number behind one of the
// step's names, or behind -p or --port. One that speaks of another service asks that.
func (rd *readiness) askedBy(argv []string) []uint16 {
	if len(rd.run.portsIn(rd.node, argv)) == 0 {
		return nil
	}
	var ports []uint16
	isAsked := false
	for _, text := range argv {
		for _, word := range strings.FieldsFunc(text, func(c rune) bool { return !isOfWord(c) }) {
			port, err := strconv.ParseUint(word, 10, 16)
			if err == nil && port > 0 && isAsked {
				ports, isAsked = append(ports, uint16(port)), false
			}
			if _, own := rd.itself(word); own || word == "-p" || word == "--port" {
				isAsked = true
			}
		}
	}
	return ports
}

func isOfWord(c rune) bool {
	return unicode.IsLetter(c) || unicode.IsDigit(c) || c == '.' || c == '_' || c == '-'
}

package pipeline

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Ready says when a service, or a detached step, is ready for the steps that
// need it. All conditions that are given must have held once. Without any it is
// the image's own healthcheck.
type Ready struct {
	None     bool          // ready as soon as it runs, whatever its image says
	TCP      string        // HOST:PORT that accepts a connection; without a host its own loopback
	HTTP     string        // URL that answers
	Status   int           // what HTTP answers; 0 is 200 to 399
	Exec     []string      // argv that succeeds in its container
	Log      string        // regular expression (RE2) that a line of its output matches
	Timeout  time.Duration // how long to wait for all; 0 is the default
	Interval time.Duration // between two tries; 0 is the default
	Health   *Health       // Docker's rules for Exec, or for the image's healthcheck; nil: the fields above say all
}

// Health has a service be judged as Docker judges a container: the image's healthcheck counts
// whatever command the service runs, a service without any check is ready as soon as it runs,
// and one that has failed too often is unhealthy at once
// (https://docs.docker.com/reference/cli/docker/container/run/). A field that is 0 is the
// image's, or Docker's default.
type Health struct {
	Interval      time.Duration // between two tries whose failure counts
	Timeout       time.Duration // of one try
	StartPeriod   time.Duration // from the start, in which no failure counts
	StartInterval time.Duration // between two tries
	Retries       int           // failures in a row that make it unhealthy
}

// HasCondition reports whether any condition is given, so that the image's
// healthcheck does not count.
func (r *Ready) HasCondition() bool {
	return r.TCP != "" || r.HTTP != "" || r.Exec != nil || r.Log != ""
}

// ready reads the word none or healthcheck, or a map of conditions.
func (p *parser) ready(v value) *Ready {
	r := &Ready{}
	if v.kind != mapKind {
		if v.kind != textKind {
			p.wrongType(v, "a map, none or healthcheck")
			return nil
		}
		r.None = p.oneOf(v, "none", "healthcheck") == "none"
		return r
	}
	p.object(v, fields{
		"tcp":      func(v value) { r.TCP = p.readyTCP(v) },
		"http":     func(v value) { p.readyHTTP(v, r) },
		"exec":     func(v value) { r.Exec = p.readyExec(v) },
		"log":      func(v value) { r.Log = p.regexp(v) },
		"timeout":  func(v value) { r.Timeout = p.duration(v) },
		"interval": func(v value) { r.Interval = p.duration(v) },
	})
	return r
}

// readyTCP reads PORT or HOST:PORT.
func (p *parser) readyTCP(v value) string {
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "a port")
		return ""
	}
	host, port, err := net.SplitHostPort(v.text)
	if err != nil {
		host, port = "", v.text
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || port != strconv.FormatUint(number, 10) {
		p.wrong(v, fmt.Sprintf("%q is not a port", v.text), "write it like 5432 or db:5432")
		return ""
	}
	if host != "" && net.ParseIP(host) == nil && !IsPeerName(host) {
		p.wrong(v, fmt.Sprintf("%q is not the name of a host", host), "write it like 5432 or db:5432")
		return ""
	}
	return net.JoinHostPort(host, port)
}

// readyHTTP reads a URL, or a map of url and status.
func (p *parser) readyHTTP(v value, r *Ready) {
	if v.kind != mapKind {
		r.HTTP = p.readyURL(v)
		return
	}
	p.object(v, fields{
		"url":    func(v value) { r.HTTP = p.readyURL(v) },
		"status": func(v value) { r.Status = int(p.whole(v, 100, 599)) },
	})
	if _, given := v.get("url"); !given {
		p.missing(v, "url")
	}
}

func (p *parser) readyURL(v value) string {
	text := p.line(v)
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		p.wrong(v, fmt.Sprintf("%q is not a URL", text), "write it like http://web:8080/health")
		return ""
	}
	return text
}

// readyExec reads an argv, or a line for a shell.
func (p *parser) readyExec(v value) []string {
	if v.kind == listKind {
		return p.filled(v, p.notEmpty)
	}
	if text := p.command(v); text != "" {
		return []string{defaultShell, "-c", text}
	}
	return nil
}

func (p *parser) regexp(v value) string {
	text := p.word(v)
	if len(text) > maxMatchesPattern {
		p.wrong(v, fmt.Sprintf("the regular expression has %d characters, more than the %d allowed", len(text), maxMatchesPattern), "")
		return ""
	}
	if _, err := regexp.Compile(text); err != nil {
		p.wrong(v, strings.TrimPrefix(err.Error(), "error parsing regexp: "), "it is a regular expression; put a backslash in front of characters that stand for themselves")
		return ""
	}
	return text
}

// readyTogether checks who can be waited for, and by what.
func (p *parser) readyTogether(v value, s *Step, service bool) {
	ready, given := v.get("ready")
	switch {
	case !given || s.Ready == nil:
	case !service && !s.Detach:
		p.misplaced(ready, "only a service, or a step with detach, can be waited for", "a step is over when its command has ended; remove it")
	case s.Network == "none":
		for _, key := range []string{"tcp", "http"} {
			if probe, given := ready.get(key); given {
				p.misplaced(probe, "needs a network, and the step has none", "use exec or log")
			}
		}
	}
}

// IsHostName reports whether the name of a step can be that of a host, too.
func IsHostName(name string) bool { return hostName().MatchString(name) }

// serviceNeeds finds the services that must be ready before a step starts: those that it
// names in its depends_on, or a step that it depends on does, and those that no step names.
type serviceNeeds struct {
	services []Step
	steps    map[string]*Step
	named    map[string]bool            // services that any step names
	reached  map[string]map[string]bool // by step: the services that it names, also by way of others
}

func (p *Pipeline) serviceNeeds() *serviceNeeds {
	n := &serviceNeeds{services: p.Services, steps: map[string]*Step{}, named: map[string]bool{}, reached: map[string]map[string]bool{}}
	for i := range p.Steps {
		n.steps[p.Steps[i].Name] = &p.Steps[i]
	}
	for i := range p.Steps {
		for _, name := range p.Steps[i].DependsOn {
			n.named[name] = n.steps[name] == nil
		}
	}
	return n
}

// of returns the names of the services that the step needs, in the order of the file.
func (n *serviceNeeds) of(step *Step) []string {
	if len(n.services) == 0 {
		return nil
	}
	reached := n.reach(step)
	var needed []string
	for i := range n.services {
		if name := n.services[i].Name; !n.named[name] || reached[name] {
			needed = append(needed, name)
		}
	}
	return needed
}

func (n *serviceNeeds) reach(step *Step) map[string]bool {
	if known, ok := n.reached[step.Name]; ok {
		return known
	}
	services := map[string]bool{}
	n.reached[step.Name] = services
	for _, name := range step.DependsOn {
		if before := n.steps[name]; before != nil {
			maps.Copy(services, n.reach(before))
		} else {
			services[name] = true
		}
	}
	return services
}

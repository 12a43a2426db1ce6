package settings

import (
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/signature"
)

// registries reads a map with the settings of each host.
func (p *parser) registries(n *yaml.Node) *pull.Registries {
	found := &pull.Registries{Hosts: map[string]pull.Host{}}
	p.pairs(n, func(key, value *yaml.Node) {
		name, err := pull.HostKey(key.Value)
		if err != nil {
			p.fail(key, "registry %s: %v", quoted(key.Value), err)
			return
		}
		if _, twice := found.Hosts[name]; twice {
			p.fail(key, "registry %q is listed twice", name)
			return
		}
		found.Hosts[name] = p.host(key, value)
	})
	return found
}

func (p *parser) host(key, value *yaml.Node) (h pull.Host) {
	p.object(value, fields{
		"mirrors":         func(n *yaml.Node) { h.Mirrors = append(h.Mirrors, p.mirrors(n)...) },
		"cache":           func(n *yaml.Node) { h.Mirrors = append(p.cache(n), h.Mirrors...) },
		"ca":              func(n *yaml.Node) { h.CA = p.path(n) },
		"cert":            func(n *yaml.Node) { h.Cert = p.path(n) },
		"key":             func(n *yaml.Node) { h.Key = p.path(n) },
		"http":            func(n *yaml.Node) { h.HTTP = p.boolean(n) },
		"skip_verify":     func(n *yaml.Node) { h.SkipVerify = p.boolean(n) },
		"allow_private":   func(n *yaml.Node) { h.AllowPrivate = p.targets(n) },
		"connect_timeout": func(n *yaml.Node) { h.ConnectTimeout = p.duration(n) },
		"stall_timeout":   func(n *yaml.Node) { h.StallTimeout = p.duration(n) },
	})
	switch {
	case (h.Cert == "") != (h.Key == ""):
		p.fail(key, "registry %q: cert and key belong together", key.Value)
	case h.HTTP && (h.CA != "" || h.Cert != "" || h.SkipVerify):
		p.fail(key, "registry %q: http: true uses no TLS, so ca, cert, key and skip_verify have no effect", key.Value)
	}
	return h
}

// verifyImages reads the list of rules about signatures.
func (p *parser) verifyImages(n *yaml.Node) signature.Rules {
	return signature.ReadRules(p.file, n, func(at *yaml.Node, message string) { p.fail(at, "%s", message) })
}

// targets reads true, false or a list of hosts, addresses and networks.
func (p *parser) targets(n *yaml.Node) (t pull.Targets) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		t.Any = p.boolean(n)
		return t
	}
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		p.fail(n, "want true, false or a list of hosts, addresses and networks, not %s", kindOf(n))
		return t
	}
	for _, item := range n.Content {
		target := p.text(item)
		if err := pull.CheckTarget(target); err != nil && target != "" {
			p.fail(item, "target %s: %v", quoted(target), err)
		}
		t.Hosts = append(t.Hosts, target)
	}
	return t
}

// cache reads a pull-through registry: the mirror that is asked before all others.
func (p *parser) cache(n *yaml.Node) []string {
	cache := p.text(n)
	if cache == "" {
		return nil
	}
	if err := pull.CheckMirror(cache); err != nil {
		p.fail(n, "cache %s: %v", quoted(cache), err)
	}
	return []string{cache}
}

func (p *parser) mirrors(n *yaml.Node) []string {
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		p.fail(n, "want a list of mirrors, not %s", kindOf(n))
		return nil
	}
	var mirrors []string
	for _, item := range n.Content {
		mirror := p.text(item)
		if err := pull.CheckMirror(mirror); err != nil && mirror != "" {
			p.fail(item, "mirror %s: %v", quoted(mirror), err)
		}
		mirrors = append(mirrors, mirror)
	}
	return mirrors
}

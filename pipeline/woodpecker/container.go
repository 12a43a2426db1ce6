package woodpecker

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// container is a step, a service or a clone step as the file has it.
type container struct {
	Step      // in the form in which a server compiles it
	node      pipeline.Node
	keys      map[string]pipeline.Node
	settings  []pipeline.Setting
	variables []pipeline.Variable
	when      []pipeline.Condition
	dependsOn []dependency // nil: not given
	service   bool
	notLocal  bool
}

// containers reads a map by names, or a list.
func (p *parser) containers(n pipeline.Node, area string) []*container {
	var list []*container
	switch n.Kind() {
	case "map":
		for _, e := range n.Entries() {
			list = append(list, p.container(e.Node, e.Name, area))
		}
	case "list":
		for i, item := range n.Items() {
			if _, named := item.Get("name"); !named && area == "services" {
				p.warn(item, "the service has no name, by which steps could reach it", "")
			}
			list = append(list, p.container(item, "step-"+strconv.Itoa(i), area))
		}
	default:
		p.WrongType(n, "a map or a list")
	}
	if area == "services" {
		p.uniqueServices(list)
	}
	return list
}

func (p *parser) uniqueServices(list []*container) {
	seen := map[string]bool{}
	for _, c := range list {
		if seen[c.Name] {
			p.Misplaced(c.node, fmt.Sprintf("Service names must be unique, `%s` is used more than once", c.Name), "")
		}
		seen[c.Name] = true
	}
}

func (p *parser) container(n pipeline.Node, name, area string) *container {
	c := &container{node: n, keys: map[string]pipeline.Node{}, service: area == "services"}
	c.Name, c.Failure, c.OnSuccess, c.Environment = name, "fail", true, map[string]string{}
	known := p.containerFields(c)
	for key, read := range known {
		known[key] = func(n pipeline.Node) {
			c.keys[key] = n
			read(n)
		}
	}
	for removed, hint := range map[string]string{
		"networks": "", "group": "steps with the same depends_on run at once", "secrets": "write environment: {NAME: {from_secret: name}}",
	} {
		known[removed] = func(n pipeline.Node) { p.warn(n, "Woodpecker 3 has no such key any more, and ignores it", hint) }
	}
	if p.old {
		p.oldFields(c, known)
	}
	p.object(n, known)
	if p.old {
		p.oldSecrets(c)
	}
	if n.Kind() == "map" {
		p.lint(c)
	}
	return c
}

// containerFields says how every key of a container is read.
func (p *parser) containerFields(c *container) fields {
	s := &c.Step
	return fields{
		"name":            func(n pipeline.Node) { s.Name = p.Text(n) },
		"image":           func(n pipeline.Node) { s.Image = p.Text(n) },
		"pull":            func(n pipeline.Node) { s.Pull = p.flag(n) },
		"commands":        func(n pipeline.Node) { s.Commands = p.strictTexts(n) },
		"entrypoint":      func(n pipeline.Node) { s.Entrypoint = p.strictTexts(n) },
		"environment":     func(n pipeline.Node) { c.variables = p.environment(n) },
		"settings":        func(n pipeline.Node) { c.settings = p.settings(n) },
		"when":            func(n pipeline.Node) { c.when = p.conditions(n, true); c.notLocal = p.isNotLocal(n) },
		"depends_on":      func(n pipeline.Node) { c.dependsOn = p.dependsOn(n) },
		"failure":         func(n pipeline.Node) { s.Failure = p.oneOf(n, "fail", "ignore", "cancel") },
		"detach":          func(n pipeline.Node) { s.Detached = p.flag(n) },
		"privileged":      func(n pipeline.Node) { s.Privileged = p.flag(n) },
		"directory":       func(n pipeline.Node) { s.WorkingDir = p.Text(n) },
		"volumes":         func(n pipeline.Node) { s.Volumes = p.texts(n) },
		"tmpfs":           func(n pipeline.Node) { s.Tmpfs = p.texts(n) },
		"devices":         func(n pipeline.Node) { s.Devices = p.texts(n) },
		"dns":             func(n pipeline.Node) { s.DNS = p.strictTexts(n) },
		"dns_search":      func(n pipeline.Node) { s.DNSSearch = p.strictTexts(n) },
		"extra_hosts":     func(n pipeline.Node) { s.ExtraHosts = p.extraHosts(n) },
		"network_mode":    func(n pipeline.Node) { s.NetworkMode = p.Text(n) },
		"ports":           func(n pipeline.Node) { p.each(n, p.port) },
		"backend_options": func(n pipeline.Node) { s.BackendOptions = p.backendOptions(n) },
	}
}

func (p *parser) oneOf(n pipeline.Node, words ...string) string {
	text := p.Text(n)
	for _, word := range words {
		if text == word {
			return text
		}
	}
	p.Wrong(n, fmt.Sprintf("must be %s, not %q", strings.Join(words, ", "), text), "")
	return words[0]
}

func (p *parser) extraHosts(n pipeline.Node) []HostAlias {
	var hosts []HostAlias
	for _, text := range p.texts(n) {
		name, address, found := strings.Cut(text, ":")
		if !found {
			p.Wrong(n, fmt.Sprintf("%q is not a host", text), "write it like db:192.0.2.1")
		}
		hosts = append(hosts, HostAlias{name, address})
	}
	return hosts
}

// port is checked alone: without a bridge of docker's, all ports of a service are in reach.
func (p *parser) port(n pipeline.Node) string {
	number, _, _ := strings.Cut(p.Text(n), "/")
	if _, err := strconv.ParseUint(number, 10, 16); err != nil {
		p.Wrong(n, fmt.Sprintf("%q is not a port", n.Raw()), "write it like 5432 or 53/udp")
	}
	return ""
}

// backendOptions keeps what is for docker and for stepexec; the others are for those.
func (p *parser) backendOptions(n pipeline.Node) map[string]any {
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
		return nil
	}
	options := map[string]any{}
	for _, e := range n.Entries() {
		if e.Name == "docker" || e.Name == "stepexec" {
			options[e.Name] = p.anything(e.Node)
		}
	}
	return options
}

// anything is a value in the types of encoding/json.
func (p *parser) anything(n pipeline.Node) any {
	switch n.Kind() {
	case "null":
		return nil
	case "list":
		list := []any{}
		for _, item := range n.Items() {
			list = append(list, p.anything(item))
		}
		return list
	case "map":
		object := map[string]any{}
		for _, e := range n.Entries() {
			object[e.Name] = p.anything(e.Node)
		}
		return object
	case "boolean":
		return strings.EqualFold(n.Raw(), "true")
	case "number":
		if number, err := strconv.ParseFloat(n.Raw(), 64); err == nil {
			return number
		}
	}
	return p.Text(n)
}

// isPlugin reports whether it is what Woodpecker takes for a plugin.
func (c *container) isPlugin() bool {
	return len(c.Commands) == 0 && len(c.Entrypoint) == 0 && len(c.variables) == 0
}

// lint makes the checks of Woodpecker's linter, in its words.
func (p *parser) lint(c *container) {
	if c.Image == "" {
		p.Misplaced(c.node, "Invalid or missing image", "write image: NAME")
	}
	if _, given := c.keys["settings"]; given && len(c.settings) > 0 {
		switch {
		case len(c.Commands) > 0:
			p.Misplaced(c.keys["commands"], "Cannot configure both `commands` and `settings`", "")
		case len(c.Entrypoint) > 0:
			p.Misplaced(c.keys["entrypoint"], "Cannot configure both `entrypoint` and `settings`", "")
		case len(c.variables) > 0:
			p.warn(c.keys["environment"], "Should not configure both `environment` and `settings`", "with environment it is no plugin any more")
		}
	}
	p.lintTrust(c)
	p.lintPlugin(c)
}

// formerlyPrivileged are the plugins that Woodpecker 2 made privileged by itself.
var formerlyPrivileged = []string{"plugins/docker", "plugins/gcr", "plugins/ecr", "woodpeckerci/plugin-docker-buildx", "codeberg.org/woodpecker-plugins/docker-buildx"}

// lintPlugin makes the plugins privileged that whoever runs the workflow names, and warns of
// those that used to be.
func (p *parser) lintPlugin(c *container) {
	names := func(rule string) bool { return pipeline.IsImage(rule, c.Image) }
	switch {
	case !c.isPlugin() || c.Privileged:
	case slices.ContainsFunc(p.o.PrivilegedPlugins, names):
		c.Privileged = true
	case slices.ContainsFunc(formerlyPrivileged, names):
		p.warn(c.node, fmt.Sprintf("The formerly privileged plugin `%s` is no longer privileged by default, if required, add it to `WOODPECKER_PLUGINS_PRIVILEGED`", c.Image),
			"--privileged-plugin makes it so here")
	}
}

// lintTrust refuses what the repository is not trusted with.
func (p *parser) lintTrust(c *container) {
	t := p.o.Trust
	if t == nil {
		return
	}
	refuse := func(trusted bool, key, what string) {
		if n, given := c.keys[key]; given && !trusted {
			p.Misplaced(n, "Insufficient trust level to use "+what, "")
		}
	}
	refuse(t.Security || !c.Privileged, "privileged", "`privileged` mode")
	refuse(t.Network || len(c.DNS) == 0, "dns", "custom `dns`")
	refuse(t.Network || len(c.DNSSearch) == 0, "dns_search", "`dns_search`")
	refuse(t.Network || len(c.ExtraHosts) == 0, "extra_hosts", "`extra_hosts`")
	refuse(t.Network || c.NetworkMode == "none", "network_mode", "`network_mode`")
	refuse(t.Volumes || len(c.Devices) == 0, "devices", "`devices`")
	refuse(t.Volumes || len(c.Volumes) == 0, "volumes", "`volumes`")
	refuse(t.Volumes || len(c.Tmpfs) == 0, "tmpfs", "`tmpfs`")
}

// place fills in where the container works, and how a server calls its type.
func (p *parser) place(c *container) {
	base := p.base
	c.Type = TypeCommands
	if c.isPlugin() {
		base, c.Type = pluginBase, TypePlugin
	}
	if c.service {
		c.Type, c.Detached = TypeService, true
	}
	c.WorkspaceBase = base
	if !path.IsAbs(c.WorkingDir) {
		c.WorkingDir = path.Join(base, p.path, c.WorkingDir)
	}
}

package drone

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// cloneName is that of the first step, which the file does not have.
const cloneName = "clone"

// draft is a step, or a service, with what of it the model has in another form.
type draft struct {
	pipeline.Step
	node       pipeline.Node
	service    bool
	condition  *pipeline.Condition
	dependsOn  []pipeline.Node
	privileged bool
	mounts     bool
}

// body reads services and steps. A service that depends on something or has conditions is
// a detached step here.
func (t *translation) body(d document) {
	services := t.drafts(d, "services", true)
	t.assemble(d.at("steps"), services, t.drafts(d, "steps", false))
}

// assemble puts services and steps into the pipeline.
func (t *translation) assemble(at pipeline.Node, services, steps []draft) {
	if len(steps) == 0 && t.Err() == nil {
		t.Wrong(at, "the pipeline has no steps", "")
	}
	t.clones = t.o.Clone != "" && !t.disableClone
	all := slices.Concat(services, steps)
	t.lint(all)
	if t.clones {
		t.out.Steps = append(t.out.Steps, t.cloneStep())
	}
	for i := range all {
		t.add(&all[i])
	}
	t.keepFromPlugins()
}

func (t *translation) drafts(d document, key string, service bool) []draft {
	n, given := d.Get(key)
	if !given || n.Kind() == "null" {
		return nil
	}
	if n.Kind() != "list" {
		t.WrongType(n, "a list")
		return nil
	}
	var drafts []draft
	for _, item := range n.Items() {
		if item.Kind() != "map" {
			t.WrongType(item, "a map")
			continue
		}
		drafts = append(drafts, t.draft(item, service))
	}
	return drafts
}

// draft reads the keys of a step.
func (t *translation) draft(n pipeline.Node, service bool) draft {
	s := draft{node: n, service: service}
	s.Position = n.Position()
	s.Platform = t.platform
	s.Limits = t.o.Limits
	s.Network = t.o.Network
	known := fields{
		"name":        func(n pipeline.Node) { s.Name = t.Text(n) },
		"image":       func(n pipeline.Node) { s.Image = t.Text(n) },
		"commands":    func(n pipeline.Node) { s.Commands = t.commands(n) },
		"entrypoint":  func(n pipeline.Node) { s.Entrypoint = t.texts(n) },
		"command":     func(n pipeline.Node) { s.Args = t.texts(n) },
		"environment": func(n pipeline.Node) { s.Environment = t.environment(n) },
		"settings":    func(n pipeline.Node) { s.Settings = t.settings(n) },
		"detach":      func(n pipeline.Node) { s.Detach = t.flag(n) },
		"depends_on":  func(n pipeline.Node) { t.texts(n); s.dependsOn = n.Items() },
		"when":        func(n pipeline.Node) { c := t.condition(n); s.condition = &c },
		"failure":     func(n pipeline.Node) { s.Failure = t.failure(n) },
		"pull":        func(n pipeline.Node) { s.Pull = t.pull(n) },
		"user":        func(n pipeline.Node) { s.User = t.Text(n) },
		"working_dir": func(n pipeline.Node) { s.Directory = t.Text(n) },
		"volumes":     func(n pipeline.Node) { s.Mounts, s.mounts = t.mounts(n), true },
		"shell":       func(pipeline.Node) {},
	}
	maps.Copy(known, t.hostFields(&s))
	t.object(n, known, "ports", "build", "push", "resources", "tmpfs", "hostname", "cap_add", "cap_drop", "labels", "restart", "healthcheck", "group", "networks", "secrets")
	t.complete(&s)
	return s
}

// hostFields are the keys of steps that touch the host.
func (t *translation) hostFields(s *draft) fields {
	only := func(what string, read func(pipeline.Node)) func(pipeline.Node) {
		return func(n pipeline.Node) {
			if n.Kind() != "list" || len(n.Items()) > 0 {
				t.untrusted(n, what)
				read(n)
			}
		}
	}
	return fields{
		"privileged": func(n pipeline.Node) {
			if s.privileged = t.flag(n); s.privileged {
				t.untrusted(n, "enable privileged mode")
			}
		},
		"devices":        func(n pipeline.Node) { s.Security.Devices = t.devices(n) },
		"dns":            only("configure dns", func(n pipeline.Node) { s.Names.DNS = t.texts(n) }),
		"dns_search":     only("configure dns_search", func(n pipeline.Node) { s.Names.DNSSearch = t.texts(n) }),
		"extra_hosts":    only("configure extra_hosts", func(n pipeline.Node) { s.Names.ExtraHosts = t.extraHosts(n) }),
		"network_mode":   only("configure network_mode", func(n pipeline.Node) { s.Network = t.network(n) }),
		"shm_size":       only("configure shm_size", func(n pipeline.Node) { s.Limits.ShmSize = t.size(n) }),
		"mem_limit":      func(n pipeline.Node) { s.Limits.Memory = t.size(n) },
		"memswap_limit":  func(n pipeline.Node) { s.Limits.MemorySwap = t.swap(n) },
		"mem_swap_limit": func(n pipeline.Node) { s.Limits.MemorySwap = t.swap(n) },
	}
}

// complete fills in what keys say together.
func (t *translation) complete(s *draft) {
	if len(s.Commands) > 0 {
		for _, key := range []string{"entrypoint", "command"} {
			if other, given := s.node.Get(key); given {
				t.warn(other, "has no effect beside commands", "")
			}
		}
		s.Entrypoint, s.Args = nil, nil
	}
	if s.Pull == "" {
		s.Pull = pullOf(s.Image)
	}
	if s.Limits.MemorySwap > 0 && s.Limits.Memory == 0 {
		if n, given := s.node.Get("memswap_limit"); given {
			t.Misplaced(n, "needs mem_limit", "it is the limit of memory and swap together")
		}
	}
	if s.service && len(s.Commands) > 0 && s.Directory == "" {
		s.Directory = t.fullPath
	}
	s.Security.Privileged = s.privileged
	if !s.privileged && t.isPrivilegedPlugin(s) {
		s.Security.Privileged, t.plugins[s.Name] = true, true
	}
	if !s.Security.Privileged {
		s.Security.Devices = append(s.Security.Devices, t.o.Devices...)
	}
	s.EndsRun = []int{78}
	if t.out.Volumes != nil && slices.Contains(t.out.Volumes, baseVolume) {
		base := pipeline.Mount{Type: pipeline.MountVolume, Source: baseVolume, Destination: path.Join("/", t.base), Options: []string{"rbind", "rw"}}
		s.Mounts = append([]pipeline.Mount{base}, s.Mounts...)
	}
	s.Mounts = append(s.Mounts, t.o.Volumes...)
}

func (t *translation) commands(n pipeline.Node) []string {
	if n.Kind() != "list" {
		t.WrongType(n, "a list")
		return nil
	}
	var commands []string
	for _, item := range n.Items() {
		switch {
		case item.Kind() == "map":
			t.Wrong(item, "must be a string, not a map", "a colon before a space makes it one; put the command in quotes")
		case item.Kind() == "null" || strings.TrimSpace(item.Raw()) == "" && item.Kind() == "string":
		default:
			commands = append(commands, t.Text(item))
		}
	}
	return commands
}

func (t *translation) failure(n pipeline.Node) pipeline.FailurePolicy {
	switch text := t.Text(n); text {
	case "ignore":
		return pipeline.FailureIgnore
	case "fast", "fast-fail", "fail-fast":
		return pipeline.FailureCancel
	case "", "always", "fail", "default":
	default:
		t.warn(n, fmt.Sprintf("Drone takes %q as if it were not there", text), `it knows "ignore" and "fast"`)
	}
	return ""
}

func (t *translation) pull(n pipeline.Node) pipeline.PullPolicy {
	switch text := t.Text(n); text {
	case "always":
		return pipeline.PullAlways
	case "never":
		return pipeline.PullNever
	case "if-not-exists":
		return pipeline.PullMissing
	case "", "default":
	default:
		t.warn(n, fmt.Sprintf("Drone takes %q as if it were not there", text), `it knows "always", "if-not-exists" and "never"`)
	}
	return ""
}

// pullOf is docker's rule: a tag that moves is asked for each time. "" leaves the others to
// whoever runs the pipeline, who takes a stored image unless told otherwise.
func pullOf(image string) pipeline.PullPolicy {
	last := image[strings.LastIndexByte(image, '/')+1:]
	if !strings.Contains(last, "@") && (!strings.Contains(last, ":") || strings.HasSuffix(last, ":latest")) {
		return pipeline.PullAlways
	}
	return ""
}

func (t *translation) network(n pipeline.Node) string {
	switch mode := t.Text(n); mode {
	case "host", "none":
		return mode
	case "":
		return t.o.Network
	case "bridge", "default":
		return "private"
	default:
		t.Wrong(n, fmt.Sprintf("network_mode %q is not supported", mode), "it may be host, none or bridge")
	}
	return ""
}

func (t *translation) swap(n pipeline.Node) int64 {
	if n.Raw() == "-1" {
		return -1
	}
	return t.size(n)
}

func (t *translation) extraHosts(n pipeline.Node) []pipeline.HostAddress {
	var hosts []pipeline.HostAddress
	for i, text := range t.texts(n) {
		name, address, found := strings.Cut(text, ":")
		if !found || name == "" || address == "" {
			t.Wrong(n.Items()[i], fmt.Sprintf("%q is not a name and an address", text), "write it like db:192.0.2.7")
			continue
		}
		hosts = append(hosts, pipeline.HostAddress{Name: name, Address: strings.Trim(address, "[]")})
	}
	return hosts
}

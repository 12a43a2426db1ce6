package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

func (w *writer) step(s *Step) *yaml.Node {
	m := newMapping()
	m.text("name", w.names[s.Name])
	m.text("image", s.Image)
	m.text("platform", s.Platform)
	m.text("pull", string(s.Pull))
	m.texts("commands", s.Commands)
	m.texts("shell", s.Shell)
	m.texts("entrypoint", s.Entrypoint)
	m.texts("args", s.Args)
	m.put("environment", environmentNode(s.Environment))
	m.texts("env_file", s.EnvFiles)
	m.put("secrets", list(s.Secrets, secretNode))
	m.put("settings", settingsNode(s.Settings))
	m.text("directory", s.Directory)
	m.text("user", s.User)
	w.mounts(m, s.Mounts)
	m.text("network", s.Network)
	w.order(m, s)
	m.put("retry", retryNode(&s.Retry))
	m.duration("timeout", s.Timeout)
	m.put("ready", readyNode(s.Ready))
	m.text("stdin", s.Stdin)
	if s.Output == OutputNone || s.Output == "" {
		m.text("output", s.Output)
	} else {
		m.text("output", "file:"+s.Output)
	}
	m.number("output_limit", s.OutputLimit)
	if o := s.Owner; o != nil && o.Workspace {
		m.text("workspace_owner", "me")
	} else if o != nil {
		m.text("workspace_owner", fmt.Sprintf("%d:%d", o.UID, o.GID))
	}
	m.text("spec", s.SpecFile)
	writeNames(m, &s.Names)
	writeLimits(m, &s.Limits)
	writeSecurity(m, &s.Security)
	writeAdvanced(m, &s.Advanced)
	return m.node
}

// order says when the step runs, and what its end means.
func (w *writer) order(m mapping, s *Step) {
	if s.DependsOn != nil {
		on := newList()
		for _, name := range s.DependsOn {
			on.Content = append(on.Content, textNode(w.names[name]))
		}
		on.Style = yaml.FlowStyle
		m.put("depends_on", on)
	}
	m.flag("keep", s.Keep)
	m.flag("detach", s.Detach)
	m.text("failure", string(s.Failure))
	m.numbers("ends_run", s.EndsRun)
	m.put("when", list(s.When, conditionNode))
}

func secretNode(use *SecretUse) *yaml.Node {
	m := newMapping()
	m.text("name", use.Name)
	m.text("file", use.File)
	m.text("env", use.Env)
	return m.node
}

func (w *writer) mounts(m mapping, all []Mount) {
	caches, others := newList(), newList()
	for i := range all {
		mount := &all[i]
		n := newMapping()
		if mount.Type == MountCache {
			n.text("name", mount.Source)
			n.text("path", mount.Destination)
			caches.Content = append(caches.Content, n.node)
			continue
		}
		if mount.Type == "tmpfs" {
			n.text("type", "tmpfs")
		} else {
			n.text("source", mount.Source)
		}
		n.text("destination", mount.Destination)
		n.texts("options", mount.Options)
		n.flag("create", mount.Create)
		others.Content = append(others.Content, n.node)
	}
	if len(others.Content) > 0 {
		m.put("mounts", others)
	}
	if len(caches.Content) > 0 {
		m.put("cache", caches)
	}
}

func conditionNode(c *Condition) *yaml.Node {
	m := newMapping()
	for _, match := range []struct {
		key   string
		match Match
	}{
		{"branch", c.Branch}, {"tag", c.Tag}, {"event", c.Event}, {"action", c.Action}, {"ref", c.Ref}, {"repo", c.Repo},
		{"instance", c.Instance}, {"platform", c.Platform}, {"cron", c.Cron}, {"deploy", c.Deploy},
	} {
		m.put(match.key, matchNode(match.match, false))
	}
	m.put("path", matchNode(c.Path.Match, c.Path.NotOnEmpty))
	axes := newMapping()
	for _, axis := range c.Matrix {
		axes.put(axis.Axis, matchNode(axis.Match, false))
	}
	m.put("matrix", axes.filled())
	m.text("evaluate", c.Evaluate)
	switch on := c.Status; {
	case on.Cancel:
		m.text("status", "always")
	case on.Failure:
		words := []string{"failure"}
		if on.Success {
			words = []string{"success", "failure"}
		}
		m.texts("status", words)
	}
	return m.node
}

func matchNode(match Match, notOnEmpty bool) *yaml.Node {
	m := newMapping()
	m.texts("include", match.Include)
	m.texts("exclude", match.Exclude)
	if notOnEmpty {
		m.put("on_empty", bareNode("!!bool", "false"))
	}
	if len(m.node.Content) == 2 && len(match.Include) > 0 {
		return textList(match.Include)
	}
	return m.filled()
}

func retryNode(r *Retry) *yaml.Node {
	m := newMapping()
	m.number("attempts", int64(r.Attempts))
	m.duration("backoff", r.Backoff)
	on := newList()
	for _, cause := range r.Causes {
		on.Content = append(on.Content, textNode(string(cause)))
	}
	for _, code := range r.ExitCodes {
		on.Content = append(on.Content, bareNode("!!int", strconv.Itoa(code)))
	}
	if len(on.Content) > 0 {
		m.put("on", on)
	}
	return m.filled()
}

func readyNode(r *Ready) *yaml.Node {
	switch {
	case r == nil:
		return nil
	case r.None:
		return textNode("none")
	case !r.HasCondition() && r.Timeout == 0 && r.Interval == 0:
		return textNode("healthcheck")
	}
	m := newMapping()
	m.text("tcp", strings.TrimPrefix(r.TCP, ":"))
	if r.Status != 0 {
		http := newMapping()
		http.text("url", r.HTTP)
		http.number("status", int64(r.Status))
		m.put("http", http.node)
	} else {
		m.text("http", r.HTTP)
	}
	m.texts("exec", r.Exec)
	m.text("log", r.Log)
	m.duration("timeout", r.Timeout)
	m.duration("interval", r.Interval)
	return m.node
}

func writeNames(m mapping, n *Names) {
	m.text("hostname", n.Hostname)
	m.texts("dns", n.DNS)
	m.texts("dns_search", n.DNSSearch)
	m.texts("dns_options", n.DNSOptions)
	hosts := newMapping()
	for _, host := range n.ExtraHosts {
		hosts.text(host.Name, host.Address)
	}
	m.put("extra_hosts", hosts.filled())
	m.put("ports", list(n.Ports, func(p *Port) *yaml.Node {
		text := strconv.Itoa(p.Container)
		if p.Host != 0 {
			text = strconv.Itoa(p.Host) + ":" + text
		}
		if p.HostIP != "" {
			host, _, _ := strings.Cut(text, ":")
			text = net.JoinHostPort(p.HostIP, host) + strings.TrimPrefix(text, host)
		}
		return textNode(text + "/" + p.Protocol)
	}))
}

func writeLimits(m mapping, l *Limits) {
	if l.CPUs != 0 {
		m.put("cpus", bareNode("!!float", strconv.FormatFloat(l.CPUs, 'f', -1, 64)))
	}
	m.number("cpu_quota", l.CPUQuota)
	m.number("cpu_period", l.CPUPeriod)
	m.number("cpu_shares", l.CPUShares)
	m.text("cpuset_cpus", l.CpusetCPUs)
	m.text("cpuset_mems", l.CpusetMems)
	m.number("memory", l.Memory)
	m.number("memory_swap", l.MemorySwap)
	m.number("pids", l.Pids)
	m.number("io_weight", l.IOWeight)
	m.number("shm_size", l.ShmSize)
	limits := newMapping()
	for _, u := range l.Ulimits {
		limits.text(u.Name, fmt.Sprintf("%d:%d", u.Soft, u.Hard))
	}
	m.put("ulimits", limits.filled())
}

func writeSecurity(m mapping, s *Security) {
	m.flag("privileged", s.Privileged)
	m.flag("allow_new_privileges", s.AllowNewPrivileges)
	m.flag("read_only", s.ReadOnly)
	m.texts("cap_add", s.CapAdd)
	m.texts("cap_drop", s.CapDrop)
	m.text("seccomp", s.Seccomp)
	m.text("apparmor", s.AppArmor)
	var devices []string
	for _, d := range s.Devices {
		devices = append(devices, d.Source+":"+d.Destination+":"+d.Permissions)
	}
	m.texts("devices", append(devices, s.CDI...))
	ids := func(maps []IDMap) *yaml.Node {
		return list(maps, func(i *IDMap) *yaml.Node { return textNode(fmt.Sprintf("%d:%d:%d", i.Container, i.Host, i.Size)) })
	}
	m.put("uidmap", ids(s.UIDMap))
	m.put("gidmap", ids(s.GIDMap))
}

func writeAdvanced(m mapping, a *Advanced) {
	m.flag("tty", a.TTY)
	texts := func(values map[string]string) *yaml.Node {
		n := newMapping()
		for _, name := range slices.Sorted(maps.Keys(values)) {
			n.put(name, textNode(values[name]))
		}
		return n.filled()
	}
	m.put("namespaces", texts(a.Namespaces))
	m.put("labels", texts(a.Labels))
	m.text("cgroup_parent", a.CgroupParent)
	if a.SpecPatch != nil {
		var patch yaml.Node
		if json.Valid(a.SpecPatch) && yaml.Unmarshal(a.SpecPatch, &patch) == nil { // JSON is YAML
			m.put("spec_patch", patch.Content[0])
		}
	}
}

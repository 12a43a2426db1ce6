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
	for _, key := range Keys() {
		if key.write != nil {
			m.put(key.Name, key.write(w, s))
		}
	}
	return m.node
}

// dependsOn is empty for a step that depends on none, and nil where that is not given.
func (w *writer) dependsOn(s *Step) *yaml.Node {
	if s.DependsOn == nil {
		return nil
	}
	on := newList()
	for _, name := range s.DependsOn {
		on.Content = append(on.Content, textNode(w.names[name]))
	}
	on.Style = yaml.FlowStyle
	return on
}

func outputNode(output string) *yaml.Node {
	if output == OutputNone || output == "" {
		return asText(output)
	}
	return textNode("file:" + output)
}

func ownerNode(o *Owner) *yaml.Node {
	switch {
	case o == nil:
		return nil
	case o.Workspace:
		return textNode("me")
	}
	return textNode(fmt.Sprintf("%d:%d", o.UID, o.GID))
}

func secretNode(use *SecretUse) *yaml.Node {
	m := newMapping()
	m.text("name", use.Name)
	m.text("file", use.File)
	m.text("env", use.Env)
	return m.node
}

// mountsNode is every mount that is not a cache's.
func mountsNode(all []Mount) *yaml.Node {
	others := slices.DeleteFunc(slices.Clone(all), func(m Mount) bool { return m.Type == MountCache || m.Type == MountKeyed })
	return list(others, func(mount *Mount) *yaml.Node {
		n := newMapping()
		if mount.Type == "tmpfs" {
			n.text("type", "tmpfs")
		} else if mount.Type == MountVolume && mount.Source == "" {
			n.text("type", MountVolume)
		} else {
			n.text("source", mount.Source)
		}
		n.text("destination", mount.Destination)
		n.texts("options", mount.Options)
		n.flag("create", mount.Create)
		return n.node
	})
}

func cachesNode(s *Step) *yaml.Node {
	caches := slices.DeleteFunc(slices.Clone(s.Mounts), func(m Mount) bool { return m.Type != MountCache && m.Type != MountKeyed })
	return list(caches, func(mount *Mount) *yaml.Node {
		if c := s.keyedCache(mount); c != nil {
			return c.node()
		}
		if slices.Contains(mount.Options, "ro") {
			modes := ":ro"
			if mount.Fill {
				modes += ",fill"
			}
			return textNode(mount.Source + ":" + mount.Destination + modes)
		}
		n := newMapping()
		n.text("name", mount.Source)
		n.text("path", mount.Destination)
		n.flag("fill", mount.Fill)
		return n.node
	})
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
	case !r.HasCondition() && r.Timeout == 0 && r.Interval == 0: // also with Health, which files cannot say
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

func hostsNode(all []HostAddress) *yaml.Node {
	hosts := newMapping()
	for _, host := range all {
		hosts.text(host.Name, host.Address)
	}
	return hosts.filled()
}

func portNode(p *Port) *yaml.Node {
	text := strconv.Itoa(p.Container)
	if p.Host != 0 {
		text = strconv.Itoa(p.Host) + ":" + text
	}
	if p.HostIP != "" {
		host, _, _ := strings.Cut(text, ":")
		text = net.JoinHostPort(p.HostIP, host) + strings.TrimPrefix(text, host)
	}
	return textNode(text + "/" + p.Protocol)
}

func cpusNode(cpus float64) *yaml.Node {
	if cpus == 0 {
		return nil
	}
	return bareNode("!!float", strconv.FormatFloat(cpus, 'f', -1, 64))
}

func ulimitsNode(all []Ulimit) *yaml.Node {
	limits := newMapping()
	for _, u := range all {
		limits.text(u.Name, fmt.Sprintf("%d:%d", u.Soft, u.Hard))
	}
	return limits.filled()
}

func devicesNode(s *Security) *yaml.Node {
	var devices []string
	for _, d := range s.Devices {
		devices = append(devices, d.Source+":"+d.Destination+":"+d.Permissions)
	}
	return asTexts(append(devices, s.CDI...))
}

func idMapNode(i *IDMap) *yaml.Node {
	return textNode(fmt.Sprintf("%d:%d:%d", i.Container, i.Host, i.Size))
}

// textsNode is a map in the order of its names.
func textsNode(values map[string]string) *yaml.Node {
	n := newMapping()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		n.put(name, textNode(values[name]))
	}
	return n.filled()
}

func patchNode(patch []byte) *yaml.Node {
	var document yaml.Node
	if patch == nil || !json.Valid(patch) || yaml.Unmarshal(patch, &document) != nil { // JSON is YAML
		return nil
	}
	return document.Content[0]
}

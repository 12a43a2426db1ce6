package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

func (w *writer) step(s *Step) *yaml.Node {
	m := newMapping()
	m.text("name", w.names[s.Name])
	for _, key := range Keys() {
		if key.write != nil {
			m.Put(key.Name, key.write(w, s))
		}
	}
	return m.Node
}

// dependsOn is empty for a step that depends on none, and nil where that is not given.
func (w *writer) dependsOn(s *Step) *yaml.Node {
	if s.DependsOn == nil {
		return nil
	}
	on := tree.NewList()
	for _, name := range s.DependsOn {
		on.Content = append(on.Content, tree.Text(w.names[name]))
	}
	on.Style = yaml.FlowStyle
	return on
}

func outputNode(output string) *yaml.Node {
	if output == OutputNone || output == "" {
		return asText(output)
	}
	return tree.Text("file:" + output)
}

func ownerNode(o *Owner) *yaml.Node {
	switch {
	case o == nil:
		return nil
	case o.Workspace:
		return tree.Text("me")
	}
	return tree.Text(fmt.Sprintf("%d:%d", o.UID, o.GID))
}

func secretNode(use *SecretUse) *yaml.Node {
	m := newMapping()
	m.text("name", use.Name)
	m.text("file", use.File)
	m.text("env", use.Env)
	return m.Node
}

// mountsNode is every mount that is not a cache's.
func mountsNode(all []Mount) *yaml.Node {
	others := slices.DeleteFunc(slices.Clone(all), func(m Mount) bool { return m.Type == MountCache || m.Type == MountKeyed })
	return tree.List(others, func(mount *Mount) *yaml.Node {
		n, options := newMapping(), mount.Options
		if mount.Type == "tmpfs" {
			n.text("type", "tmpfs")
		} else if mount.Type == MountVolume && mount.Source == "" {
			n.text("type", MountVolume)
			options = slices.DeleteFunc(slices.Clone(options), func(option string) bool { return slices.Contains(bindOptions, option) })
		} else {
			n.text("source", mount.Source)
		}
		n.text("destination", mount.Destination)
		n.texts("options", options)
		n.flag("create", mount.Create)
		return n.Node
	})
}

func cachesNode(s *Step) *yaml.Node {
	caches := slices.DeleteFunc(slices.Clone(s.Mounts), func(m Mount) bool { return m.Type != MountCache && m.Type != MountKeyed })
	return tree.List(caches, func(mount *Mount) *yaml.Node {
		if c := s.keyedCache(mount); c != nil {
			return c.node()
		}
		if slices.Contains(mount.Options, "ro") {
			modes := ":ro"
			if mount.Fill {
				modes += ",fill"
			}
			return tree.Text(mount.Source + ":" + mount.Destination + modes)
		}
		n := newMapping()
		n.text("name", mount.Source)
		n.text("path", mount.Destination)
		n.flag("fill", mount.Fill)
		return n.Node
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
		m.Put(match.key, matchNode(match.match, false))
	}
	m.Put("path", matchNode(c.Path.Match, c.Path.NotOnEmpty))
	axes := newMapping()
	for _, axis := range c.Matrix {
		axes.Put(axis.Axis, matchNode(axis.Match, false))
	}
	m.Put("matrix", axes.Filled())
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
	return m.Node
}

func matchNode(match Match, notOnEmpty bool) *yaml.Node {
	m := newMapping()
	m.texts("include", match.Include)
	m.texts("exclude", match.Exclude)
	if notOnEmpty {
		m.Put("on_empty", tree.Bare("!!bool", "false"))
	}
	if len(m.Node.Content) == 2 && len(match.Include) > 0 {
		return tree.Texts(match.Include)
	}
	return m.Filled()
}

func retryNode(r *Retry) *yaml.Node {
	m := newMapping()
	m.number("attempts", int64(r.Attempts))
	m.duration("backoff", r.Backoff)
	on := tree.NewList()
	for _, cause := range r.Causes {
		on.Content = append(on.Content, tree.Text(string(cause)))
	}
	for _, code := range r.ExitCodes {
		on.Content = append(on.Content, tree.Bare("!!int", strconv.Itoa(code)))
	}
	if len(on.Content) > 0 {
		m.Put("on", on)
	}
	return m.Filled()
}

func readyNode(r *Ready) *yaml.Node {
	switch {
	case r == nil:
		return nil
	case r.None:
		return tree.Text("none")
	case !r.HasCondition() && r.Timeout == 0 && r.Interval == 0: // also with Health, which files cannot say
		return tree.Text("healthcheck")
	}
	m := newMapping()
	m.text("tcp", strings.TrimPrefix(r.TCP, ":"))
	if r.Status != 0 {
		http := newMapping()
		http.text("url", r.HTTP)
		http.number("status", int64(r.Status))
		m.Put("http", http.Node)
	} else {
		m.text("http", r.HTTP)
	}
	m.texts("exec", r.Exec)
	m.text("log", r.Log)
	m.duration("timeout", r.Timeout)
	m.duration("interval", r.Interval)
	return m.Node
}

func hostsNode(all []HostAddress) *yaml.Node {
	hosts := newMapping()
	for _, host := range all {
		hosts.text(host.Name, host.Address)
	}
	return hosts.Filled()
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
	return tree.Text(text + "/" + p.Protocol)
}

func cpusNode(cpus float64) *yaml.Node {
	if cpus == 0 {
		return nil
	}
	return tree.Bare("!!float", strconv.FormatFloat(cpus, 'f', -1, 64))
}

func ulimitsNode(all []Ulimit) *yaml.Node {
	limits := newMapping()
	for _, u := range all {
		limits.text(u.Name, fmt.Sprintf("%d:%d", u.Soft, u.Hard))
	}
	return limits.Filled()
}

func devicesNode(s *Security) *yaml.Node {
	var devices []string
	for _, d := range s.Devices {
		devices = append(devices, d.Source+":"+d.Destination+":"+d.Permissions)
	}
	return asTexts(append(devices, s.CDI...))
}

func idMapNode(i *IDMap) *yaml.Node {
	return tree.Text(fmt.Sprintf("%d:%d:%d", i.Container, i.Host, i.Size))
}

// textsNode is a map in the order of its names.
func textsNode(values map[string]string) *yaml.Node {
	n := newMapping()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		n.Put(name, tree.Text(values[name]))
	}
	return n.Filled()
}

func patchNode(patch []byte) *yaml.Node {
	var document yaml.Node
	if patch == nil || !json.Valid(patch) || yaml.Unmarshal(patch, &document) != nil { // JSON is YAML
		return nil
	}
	return document.Content[0]
}

package export

import (
	"maps"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func (e *exporter) woodpecker() *yaml.Node {
	w, p := e.workflow, e.workflow.Pipeline
	e.header()
	if len(p.PullSecrets) > 0 {
		e.refuse("image_pull_secrets", "the server has the logins")
	}
	for _, name := range p.Volumes {
		if (name != sharedBase || e.from != Drone) && !e.isAnonymous(name) {
			e.refuse("volumes", "folders of one run, such as "+name)
		}
	}
	if e.from == Drone {
		e.loss("exit code 78 fails a step of Woodpecker; it does not end the workflow")
	}
	o := newObject()
	o.put("workspace", e.droneWorkspace())
	labels := newObject()
	for _, name := range sorted(w.Labels) {
		labels.put(name, text(w.Labels[name]))
	}
	if e.from == Drone && labels.get("platform") == nil && e.platform() != "" {
		labels.put("platform", text(e.platform()))
	}
	o.put("labels", labels.filled())
	o.put("depends_on", texts(w.DependsOn))
	o.put("when", e.woodpeckerConditions(w.When, "when"))
	o.put("matrix", matrix(&p.Matrix))
	steps := func(all []pipeline.Step, area string) *yaml.Node {
		return list(all, func(s *pipeline.Step) *yaml.Node { return e.woodpeckerStep(s, area) })
	}
	services, others := e.services()
	isService := map[string]bool{}
	for _, s := range services {
		isService[s.Name] = true
	}
	for _, s := range slices.Concat(services, others) {
		for _, name := range s.DependsOn {
			if isService[name] {
				e.at = place(&s, "steps")
				e.refuse("depends_on", "nothing waits for a service, such as "+name)
			}
		}
	}
	e.at = pipeline.Position{}
	o.put("services", steps(services, "services"))
	o.put("steps", steps(others, "steps"))
	return o.node
}

func matrix(m *pipeline.Matrix) *yaml.Node {
	o := newObject()
	for _, axis := range m.Axes {
		o.put(axis.Name, texts(axis.Values))
	}
	o.put("include", list(m.Include, func(cell *pipeline.Cell) *yaml.Node {
		values := newObject()
		for _, v := range *cell {
			values.put(v.Axis, text(v.Value))
		}
		return values.node
	}))
	return o.filled()
}

func (e *exporter) woodpeckerStep(s *pipeline.Step, area string) *yaml.Node {
	o, own := newObject(), newObject()
	o.put("name", text(s.Name))
	as := func(key string) func(*yaml.Node) {
		return func(value *yaml.Node) { o.put(key, value) }
	}
	isPlugin := len(s.Settings) > 0 && len(s.Commands)+len(s.Entrypoint)+len(s.Args) == 0
	if isPlugin && len(s.Environment)+len(e.workflow.Environment) > 0 {
		e.loss("step %s has variables beside its settings: it is no plugin for Woodpecker, and gets no DRONE_ variables", s.Name)
	}
	variables := slices.Concat(e.workflow.Environment, s.Environment)
	variables = slices.DeleteFunc(variables, func(v pipeline.Variable) bool { // the step's own come last, and win
		last := slices.IndexFunc(s.Environment, func(own pipeline.Variable) bool { return own.Name == v.Name })
		return last >= 0 && s.Environment[last].Value != v.Value
	})
	known := map[string]func(*yaml.Node){
		"image": as("image"), "commands": as("commands"), "settings": as("settings"), "detach": as("detach"),
		"dns": as("dns"), "dns_search": as("dns_search"), "privileged": as("privileged"), "devices": as("devices"),
		"entrypoint":  func(*yaml.Node) { o.put("entrypoint", texts(slices.Concat(s.Entrypoint, s.Args))) },
		"environment": func(*yaml.Node) {},
		"depends_on": func(value *yaml.Node) {
			if area == "steps" { // services wait for nothing
				o.put("depends_on", value)
			}
		},
		"args": func(*yaml.Node) {
			if len(s.Entrypoint) == 0 {
				e.refuse("args", "without an entrypoint")
			}
		},
		"directory": func(*yaml.Node) {
			if s.Directory != e.workflow.Workspace {
				o.put("directory", text(s.Directory))
			}
		},
		"when": func(*yaml.Node) { o.put("when", e.woodpeckerConditions(s.When, "when")) },
		"failure": func(*yaml.Node) {
			o.put("failure", map[pipeline.FailurePolicy]*yaml.Node{pipeline.FailureIgnore: text("ignore"), pipeline.FailureCancel: text("cancel")}[s.Failure])
		},
		"pull": func(*yaml.Node) {
			switch s.Pull {
			case pipeline.PullAlways:
				o.put("pull", flag())
			case pipeline.PullNever:
				e.refuse("pull", "never")
			}
		},
		"platform": func(value *yaml.Node) {
			if e.from != Drone {
				own.put("platform", value)
			}
		},
		"network":     func(*yaml.Node) { o.put("network_mode", e.network(s.Network)) },
		"mounts":      func(*yaml.Node) { e.woodpeckerMounts(s, o) },
		"extra_hosts": func(*yaml.Node) { o.put("extra_hosts", hosts(s)) },
	}
	for _, key := range woodpecker.OptionKeys() {
		if known[key] == nil {
			known[key] = func(value *yaml.Node) { own.put(key, value) }
		}
	}
	e.step(s, area, known)
	o.put("environment", e.environment(variables))
	if own.filled() != nil {
		backend := newObject()
		backend.put("stepexec", own.node)
		o.put("backend_options", backend.node)
		e.loss("backend_options.stepexec of step %s mean something to stepexec's agent alone", s.Name)
	}
	return o.node
}

// isAnonymous reports whether a volume is one that only its path was given of, in a file of
// Woodpecker.
func (e *exporter) isAnonymous(name string) bool {
	return e.from == Woodpecker && strings.HasPrefix(name, "anonymous-")
}

func (e *exporter) woodpeckerMounts(s *pipeline.Step, o object) {
	var volumes, memory []string
	for _, m := range s.Mounts {
		switch {
		case m.Type == pipeline.MountCache:
		case m.Type == pipeline.MountVolume && m.Source == sharedBase && e.from == Drone:
		case m.Type == "tmpfs":
			var options []string
			for _, option := range m.Options {
				if strings.HasPrefix(option, "size=") || strings.HasPrefix(option, "mode=") {
					options = append(options, option)
				}
			}
			memory = append(memory, strings.TrimSuffix(m.Destination+":"+strings.Join(options, ","), ":"))
		case m.Type != pipeline.MountVolume && path.IsAbs(m.Source):
			mode := ""
			if slices.Contains(m.Options, "ro") {
				mode = ":ro"
			}
			volumes = append(volumes, m.Source+":"+m.Destination+mode)
		case m.Type == pipeline.MountVolume && (m.Source == "" || e.isAnonymous(m.Source)):
			volumes = append(volumes, m.Destination)
		case m.Type == pipeline.MountVolume: // refused with the pipeline's volumes
		default:
			e.refuse("mounts", m.Source+" at "+m.Destination)
		}
	}
	o.put("volumes", texts(volumes))
	o.put("tmpfs", texts(memory))
}

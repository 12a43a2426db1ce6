package export

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/tree"
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
	o := tree.NewMap()
	o.Put("workspace", e.droneWorkspace())
	labels := tree.NewMap()
	for _, name := range sorted(w.Labels) {
		labels.Put(name, tree.Text(w.Labels[name]))
	}
	if e.from == Drone && labels.Get("platform") == nil && e.platform() != "" {
		labels.Put("platform", tree.Text(e.platform()))
	}
	o.Put("labels", labels.Filled())
	o.Put("depends_on", texts(w.DependsOn))
	o.Put("when", e.woodpeckerConditions(w.When, "when"))
	o.Put("matrix", matrix(&p.Matrix))
	steps := func(all []pipeline.Step, area string) *yaml.Node {
		return tree.List(all, func(s *pipeline.Step) *yaml.Node { return e.woodpeckerStep(s, area) })
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
	o.Put("services", steps(services, "services"))
	o.Put("steps", steps(others, "steps"))
	return o.Node
}

func matrix(m *pipeline.Matrix) *yaml.Node {
	o := tree.NewMap()
	for _, axis := range m.Axes {
		o.Put(axis.Name, texts(axis.Values))
	}
	o.Put("include", tree.List(m.Include, func(cell *pipeline.Cell) *yaml.Node {
		values := tree.NewMap()
		for _, v := range *cell {
			values.Put(v.Axis, tree.Text(v.Value))
		}
		return values.Node
	}))
	return o.Filled()
}

func (e *exporter) woodpeckerStep(s *pipeline.Step, area string) *yaml.Node {
	o, own := tree.NewMap(), tree.NewMap()
	o.Put("name", tree.Text(s.Name))
	as := func(key string) func(*yaml.Node) {
		return func(value *yaml.Node) { o.Put(key, value) }
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
	if !isPlugin { // Woodpecker has settings for plugins alone
		variables = e.withSettings(variables, s)
	}
	known := map[string]func(*yaml.Node){
		"image": as("image"), "commands": as("commands"), "detach": as("detach"),
		"dns": as("dns"), "dns_search": as("dns_search"), "privileged": as("privileged"), "devices": as("devices"),
		"entrypoint": func(*yaml.Node) { o.Put("entrypoint", texts(slices.Concat(s.Entrypoint, s.Args))) },
		"settings": func(value *yaml.Node) {
			if isPlugin {
				e.checkSettings(s.Settings)
				o.Put("settings", value)
			}
		},
		"environment": func(*yaml.Node) {},
		"shell":       func(*yaml.Node) { o.Put("entrypoint", e.pipedShell(s.Shell)) },
		"depends_on": func(value *yaml.Node) {
			if area == "steps" { // services wait for nothing
				o.Put("depends_on", value)
			}
		},
		"args": func(*yaml.Node) {
			if len(s.Entrypoint) == 0 {
				e.refuse("args", "without an entrypoint")
			}
		},
		"directory": func(*yaml.Node) {
			if s.Directory != e.workflow.Workspace {
				o.Put("directory", tree.Text(s.Directory))
			}
		},
		"when": func(*yaml.Node) { o.Put("when", e.woodpeckerConditions(s.When, "when")) },
		"failure": func(*yaml.Node) {
			o.Put("failure", map[pipeline.FailurePolicy]*yaml.Node{pipeline.FailureIgnore: tree.Text("ignore"), pipeline.FailureCancel: tree.Text("cancel")}[s.Failure])
		},
		"pull": func(*yaml.Node) {
			switch s.Pull {
			case pipeline.PullAlways:
				o.Put("pull", tree.True())
			case pipeline.PullNever:
				e.refuse("pull", "never")
			}
		},
		"platform": func(value *yaml.Node) {
			if e.from != Drone {
				own.Put("platform", value)
			}
		},
		"network":     func(*yaml.Node) { o.Put("network_mode", e.network(s.Network)) },
		"mounts":      func(*yaml.Node) { e.woodpeckerMounts(s, o) },
		"extra_hosts": func(*yaml.Node) { o.Put("extra_hosts", hosts(s)) },
	}
	for _, key := range woodpecker.OptionKeys() {
		if known[key] == nil {
			known[key] = func(value *yaml.Node) { own.Put(key, value) }
		}
	}
	e.step(s, area, known)
	o.Put("environment", e.environment(variables))
	if own.Filled() != nil {
		backend := tree.NewMap()
		backend.Put("stepexec", own.Node)
		o.Put("backend_options", backend.Node)
		e.loss("backend_options.stepexec of step %s mean something to stepexec's agent alone", s.Name)
	}
	return o.Node
}

// plainFlags are words that a shell reads as its options and that no entrypoint has to quote. With
// c among them the shell would not read the script.
var plainFlags = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:-[abd-zA-Z]+(?: pipefail)?(?: |$))*$`) })

// pipedShell is the entrypoint by which Woodpecker's documentation says to choose a shell.
func (e *exporter) pipedShell(shell []string) *yaml.Node {
	flags := strings.Join(shell[1:], " ")
	if strings.ContainsAny(shell[0], " \t\n'\"\\$`&|;<>()*?[]#~") || !plainFlags().MatchString(flags) {
		e.refuse("shell", strings.Join(shell, " "))
		return nil
	}
	return texts([]string{"/bin/sh", "-c", strings.TrimSpace(`echo "$CI_SCRIPT" | base64 -d | ` + shell[0] + " " + flags)})
}

// isAnonymous reports whether a volume is one that only its path was given of, in a file of
// Woodpecker.
func (e *exporter) isAnonymous(name string) bool {
	return e.from == Woodpecker && strings.HasPrefix(name, "anonymous-")
}

func (e *exporter) woodpeckerMounts(s *pipeline.Step, o tree.Map) {
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
	o.Put("volumes", texts(volumes))
	o.Put("tmpfs", texts(memory))
}

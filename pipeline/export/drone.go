package export

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/stepexec/stepexec/pipeline"
)

// droneBase is Drone's workspace where a file names none.
const droneBase = "/drone/src"

// defaultPlaces are the workspaces of files that name none.
var defaultPlaces = []string{pipeline.DefaultWorkspace, droneBase, "/woodpecker/src", "/woodpecker"}

// privilegedPlugins are privileged for Drone without asking.
var privilegedPlugins = []string{"plugins/docker", "plugins/acr", "plugins/ecr", "plugins/gcr", "plugins/gar", "plugins/heroku"}

func (e *exporter) drone() *yaml.Node {
	w, p := e.workflow, e.workflow.Pipeline
	e.header()
	if len(p.Matrix.Axes)+len(p.Matrix.Include) > 0 {
		e.refuse("matrix", "")
	}
	if e.from == Native {
		e.loss("a step that exits with 78 ends a pipeline of Drone successfully")
	}
	o := newObject()
	o.put("kind", text("pipeline"))
	o.put("type", text("docker"))
	o.put("name", text(p.Name))
	o.put("platform", e.dronePlatform())
	o.put("workspace", e.droneWorkspace())
	labels := newObject()
	for _, name := range sorted(w.Labels) {
		if name != "platform" || e.from == Drone { // for Woodpecker it is one of the labels
			labels.put(name, text(w.Labels[name]))
		}
	}
	o.put("node", labels.filled())
	o.put("depends_on", texts(w.DependsOn))
	o.put("trigger", e.droneCondition(w.When, "trigger"))
	o.put("environment", e.environment(p.Environment))
	var pullSecrets []string
	for _, use := range p.PullSecrets {
		pullSecrets = append(pullSecrets, use.Name)
	}
	o.put("image_pull_secrets", texts(pullSecrets))
	e.volumes = newObject()
	allServices, allSteps := e.services()
	services := list(allServices, func(s *pipeline.Step) *yaml.Node { return e.droneStep(s, "services") })
	steps := list(allSteps, func(s *pipeline.Step) *yaml.Node { return e.droneStep(s, "steps") })
	volumes := newList()
	for i := 0; i < len(e.volumes.node.Content); i += 2 {
		v := newObject()
		v.put("name", e.volumes.node.Content[i])
		place := e.volumes.node.Content[i+1]
		v.node.Content = append(v.node.Content, place.Content...)
		volumes.Content = append(volumes.Content, v.node)
	}
	if len(volumes.Content) > 0 {
		o.put("volumes", volumes)
	}
	o.put("services", services)
	o.put("steps", steps)
	return o.node
}

// sharedBase is the volume above the sources, which pipelines read from Drone's files have
// where base and path of the workspace are not the same.
const sharedBase = "workspace"

// droneWorkspace is base and path, where they are not the usual ones.
func (e *exporter) droneWorkspace() *yaml.Node {
	p := e.workflow.Pipeline
	o := newObject()
	if slices.Contains(p.Volumes, sharedBase) {
		for _, s := range slices.Concat(p.Services, p.Steps) {
			for _, m := range s.Mounts {
				if m.Type == pipeline.MountVolume && m.Source == sharedBase {
					o.put("base", text(m.Destination))
					o.put("path", text(strings.TrimPrefix(strings.TrimPrefix(p.Workspace, m.Destination), "/")))
					return o.node
				}
			}
		}
	}
	if p.Workspace != "" && !slices.Contains(defaultPlaces, p.Workspace) {
		o.put("base", text(p.Workspace))
	}
	return o.filled()
}

func (e *exporter) droneStep(s *pipeline.Step, area string) *yaml.Node {
	o := newObject()
	o.put("name", text(s.Name))
	as := func(key string) func(*yaml.Node) {
		return func(value *yaml.Node) { o.put(key, value) }
	}
	known := map[string]func(*yaml.Node){
		"image": as("image"), "commands": as("commands"), "entrypoint": as("entrypoint"), "args": as("command"),
		"settings": as("settings"), "detach": as("detach"), "user": as("user"), "depends_on": as("depends_on"), "dns": as("dns"), "dns_search": as("dns_search"),
		"environment": func(*yaml.Node) { o.put("environment", e.environment(s.Environment)) },
		"directory": func(*yaml.Node) {
			if s.Directory != e.workflow.Workspace {
				o.put("working_dir", text(s.Directory))
			}
		},
		"when":        func(*yaml.Node) { o.put("when", e.droneCondition(s.When, "when")) },
		"failure":     func(*yaml.Node) { o.put("failure", e.droneFailure(s.Failure)) },
		"pull":        func(*yaml.Node) { o.put("pull", dronePull(s)) },
		"platform":    func(*yaml.Node) {}, // of the whole pipeline
		"network":     func(*yaml.Node) { o.put("network_mode", e.network(s.Network)) },
		"mounts":      func(*yaml.Node) { o.put("volumes", e.droneMounts(s)) },
		"shm_size":    func(*yaml.Node) { o.put("shm_size", text(strconv.FormatInt(s.Limits.ShmSize, 10))) },
		"memory":      func(*yaml.Node) { o.put("mem_limit", text(strconv.FormatInt(s.Limits.Memory, 10))) },
		"memory_swap": func(*yaml.Node) { o.put("memswap_limit", text(strconv.FormatInt(s.Limits.MemorySwap, 10))) },
		"extra_hosts": func(*yaml.Node) { o.put("extra_hosts", hosts(s)) },
		"devices":     func(*yaml.Node) { o.put("devices", e.droneDevices(s)) },
		"privileged": func(*yaml.Node) {
			isPlugin := len(s.Commands)+len(s.Entrypoint)+len(s.Args) == 0
			if !isPlugin || !slices.ContainsFunc(privilegedPlugins, func(rule string) bool { return pipeline.IsImage(rule, s.Image) }) {
				o.put("privileged", flag())
			}
		},
	}
	e.step(s, area, known)
	return o.node
}

// network is that of docker: each container has an address of its own unless it says otherwise.
func (e *exporter) network(mode string) *yaml.Node {
	if mode == "private" || mode == "" {
		return nil
	}
	return text(mode)
}

func (e *exporter) droneFailure(f pipeline.FailurePolicy) *yaml.Node {
	switch f {
	case pipeline.FailureIgnore:
		return text("ignore")
	case pipeline.FailureCancel:
		return text("fast")
	}
	return nil
}

// dronePull leaves out docker's own rule.
func dronePull(s *pipeline.Step) *yaml.Node {
	last := s.Image[strings.LastIndexByte(s.Image, '/')+1:]
	moves := !strings.Contains(last, "@") && (!strings.Contains(last, ":") || strings.HasSuffix(last, ":latest"))
	switch {
	case s.Pull == pipeline.PullAlways && moves:
		return nil
	case s.Pull == pipeline.PullMissing:
		return text("if-not-exists")
	}
	return text(string(s.Pull))
}

// platform is what all steps of the pipeline have in common: Drone and Woodpecker choose a
// runner by it. "": none is named.
func (e *exporter) platform() string {
	all := slices.Concat(e.workflow.Services, e.workflow.Steps)
	for _, s := range all {
		if s.Platform != all[0].Platform {
			e.refuse("platform", "steps have different ones")
			return ""
		}
	}
	if len(all) == 0 {
		return ""
	}
	if e.from == Woodpecker && all[0].Platform == "" {
		return e.workflow.Labels["platform"]
	}
	return all[0].Platform
}

func (e *exporter) dronePlatform() *yaml.Node {
	parts := strings.Split(e.platform(), "/")
	if len(parts) < 2 {
		return nil
	}
	o := newObject()
	o.put("os", text(parts[0]))
	o.put("arch", text(parts[1]))
	if len(parts) > 2 {
		o.put("variant", text(parts[2]))
	}
	return o.node
}

func hosts(s *pipeline.Step) *yaml.Node {
	var all []string
	for _, h := range s.Names.ExtraHosts {
		all = append(all, h.Name+":"+h.Address)
	}
	return texts(all)
}

// volume declares a volume of the pipeline, and returns its name.
func (e *exporter) volume(name, kind string, place *yaml.Node) string {
	holder := newObject()
	holder.put(kind, place)
	for i := 0; i < len(e.volumes.node.Content); i += 2 {
		if e.volumes.node.Content[i].Value == name {
			return name
		}
	}
	e.volumes.put(name, holder.node)
	return name
}

func (e *exporter) hostVolume(folder string) string {
	place := newObject()
	place.put("path", text(folder))
	return e.volume("host"+strings.NewReplacer("/", "-", ":", "-").Replace(folder), "host", place.node)
}

func (e *exporter) droneMounts(s *pipeline.Step) *yaml.Node {
	var mounts []*yaml.Node
	for _, m := range s.Mounts {
		name := ""
		readOnly := slices.Contains(m.Options, "ro")
		switch {
		case m.Type == pipeline.MountCache, m.Type == pipeline.MountVolume && m.Source == sharedBase && e.from == Drone:
			continue
		case m.Type == "tmpfs":
			place := newObject()
			place.put("medium", text("memory"))
			for _, option := range m.Options {
				if size, found := strings.CutPrefix(option, "size="); found {
					place.put("size_limit", text(size))
				}
			}
			name = e.volume(fmt.Sprintf("memory%s-%s", strings.ReplaceAll(m.Destination, "/", "-"), s.Name), "temp", place.node)
		case m.Type == pipeline.MountVolume && m.Source != "":
			name = e.volume(m.Source, "temp", newObject().node)
		case m.Type != pipeline.MountVolume && path.IsAbs(m.Source):
			name = e.hostVolume(m.Source)
		default:
			e.refuse("mounts", m.Source+" at "+m.Destination)
			continue
		}
		if readOnly {
			e.refuse("mounts", m.Destination+" is read-only")
		}
		o := newObject()
		o.put("name", text(name))
		o.put("path", text(m.Destination))
		mounts = append(mounts, o.node)
	}
	return list(mounts, func(n **yaml.Node) *yaml.Node { return *n })
}

func (e *exporter) droneDevices(s *pipeline.Step) *yaml.Node {
	if len(s.Security.CDI) > 0 {
		e.refuse("devices", strings.Join(s.Security.CDI, ", "))
	}
	return list(s.Security.Devices, func(d *pipeline.Device) *yaml.Node {
		o := newObject()
		o.put("name", text(e.hostVolume(d.Source)))
		o.put("path", text(d.Destination))
		return o.node
	})
}

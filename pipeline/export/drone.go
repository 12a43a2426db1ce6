package export

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/tree"
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
	o := tree.NewMap()
	o.Put("kind", tree.Text("pipeline"))
	o.Put("type", tree.Text("docker"))
	o.Put("name", tree.Text(p.Name))
	o.Put("platform", e.dronePlatform())
	o.Put("workspace", e.droneWorkspace())
	labels := tree.NewMap()
	for _, name := range sorted(w.Labels) {
		if name != "platform" || e.from == Drone { // for Woodpecker it is one of the labels
			labels.Put(name, tree.Text(w.Labels[name]))
		}
	}
	o.Put("node", labels.Filled())
	o.Put("depends_on", texts(w.DependsOn))
	o.Put("trigger", e.droneCondition(w.When, "trigger"))
	o.Put("environment", e.environment(p.Environment))
	var pullSecrets []string
	for _, use := range p.PullSecrets {
		pullSecrets = append(pullSecrets, use.Name)
	}
	o.Put("image_pull_secrets", texts(pullSecrets))
	e.volumes = tree.NewMap()
	allServices, allSteps := e.services()
	services := tree.List(allServices, func(s *pipeline.Step) *yaml.Node { return e.droneStep(s, "services") })
	steps := tree.List(allSteps, func(s *pipeline.Step) *yaml.Node { return e.droneStep(s, "steps") })
	volumes := tree.NewList()
	for i := 0; i < len(e.volumes.Node.Content); i += 2 {
		v := tree.NewMap()
		v.Put("name", e.volumes.Node.Content[i])
		place := e.volumes.Node.Content[i+1]
		v.Node.Content = append(v.Node.Content, place.Content...)
		volumes.Content = append(volumes.Content, v.Node)
	}
	if len(volumes.Content) > 0 {
		o.Put("volumes", volumes)
	}
	o.Put("services", services)
	o.Put("steps", steps)
	return o.Node
}

// sharedBase is the volume above the sources, which pipelines read from Drone's files have
// where base and path of the workspace are not the same.
const sharedBase = "workspace"

// droneWorkspace is base and path, where they are not the usual ones.
func (e *exporter) droneWorkspace() *yaml.Node {
	p := e.workflow.Pipeline
	o := tree.NewMap()
	if slices.Contains(p.Volumes, sharedBase) {
		for _, s := range slices.Concat(p.Services, p.Steps) {
			for _, m := range s.Mounts {
				if m.Type == pipeline.MountVolume && m.Source == sharedBase {
					o.Put("base", tree.Text(m.Destination))
					o.Put("path", tree.Text(strings.TrimPrefix(strings.TrimPrefix(p.Workspace, m.Destination), "/")))
					return o.Node
				}
			}
		}
	}
	if p.Workspace != "" && !slices.Contains(defaultPlaces, p.Workspace) {
		o.Put("base", tree.Text(p.Workspace))
	}
	return o.Filled()
}

func (e *exporter) droneStep(s *pipeline.Step, area string) *yaml.Node {
	o := tree.NewMap()
	o.Put("name", tree.Text(s.Name))
	as := func(key string) func(*yaml.Node) {
		return func(value *yaml.Node) { o.Put(key, value) }
	}
	known := map[string]func(*yaml.Node){
		"image": as("image"), "commands": as("commands"), "entrypoint": as("entrypoint"), "args": as("command"),
		"detach": as("detach"), "user": as("user"), "depends_on": as("depends_on"), "dns": as("dns"), "dns_search": as("dns_search"),
		"settings": func(value *yaml.Node) {
			e.checkSettings(s.Settings)
			o.Put("settings", value)
		},
		"environment": func(*yaml.Node) { o.Put("environment", e.environment(s.Environment)) },
		"directory": func(*yaml.Node) {
			if s.Directory != e.workflow.Workspace {
				o.Put("working_dir", tree.Text(s.Directory))
			}
		},
		"when":        func(*yaml.Node) { o.Put("when", e.droneCondition(s.When, "when")) },
		"failure":     func(*yaml.Node) { o.Put("failure", e.droneFailure(s.Failure)) },
		"pull":        func(*yaml.Node) { o.Put("pull", dronePull(s)) },
		"platform":    func(*yaml.Node) {}, // of the whole pipeline
		"network":     func(*yaml.Node) { o.Put("network_mode", e.network(s.Network)) },
		"mounts":      func(*yaml.Node) { o.Put("volumes", e.droneMounts(s)) },
		"shm_size":    func(*yaml.Node) { o.Put("shm_size", tree.Text(strconv.FormatInt(s.Limits.ShmSize, 10))) },
		"memory":      func(*yaml.Node) { o.Put("mem_limit", tree.Text(strconv.FormatInt(s.Limits.Memory, 10))) },
		"memory_swap": func(*yaml.Node) { o.Put("memswap_limit", tree.Text(strconv.FormatInt(s.Limits.MemorySwap, 10))) },
		"extra_hosts": func(*yaml.Node) { o.Put("extra_hosts", hosts(s)) },
		"devices":     func(*yaml.Node) { o.Put("devices", e.droneDevices(s)) },
		"privileged": func(*yaml.Node) {
			isPlugin := len(s.Commands)+len(s.Entrypoint)+len(s.Args) == 0
			if !isPlugin || !slices.ContainsFunc(privilegedPlugins, func(rule string) bool { return pipeline.IsImage(rule, s.Image) }) {
				o.Put("privileged", tree.True())
			}
		},
	}
	e.step(s, area, known)
	return o.Node
}

// network is that of docker: each container has an address of its own unless it says otherwise.
func (e *exporter) network(mode string) *yaml.Node {
	if mode == "private" || mode == "" {
		return nil
	}
	return tree.Text(mode)
}

func (e *exporter) droneFailure(f pipeline.FailurePolicy) *yaml.Node {
	switch f {
	case pipeline.FailureIgnore:
		return tree.Text("ignore")
	case pipeline.FailureCancel:
		return tree.Text("fast")
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
		return tree.Text("if-not-exists")
	}
	return tree.Text(string(s.Pull))
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
	o := tree.NewMap()
	o.Put("os", tree.Text(parts[0]))
	o.Put("arch", tree.Text(parts[1]))
	if len(parts) > 2 {
		o.Put("variant", tree.Text(parts[2]))
	}
	return o.Node
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
	holder := tree.NewMap()
	holder.Put(kind, place)
	for i := 0; i < len(e.volumes.Node.Content); i += 2 {
		if e.volumes.Node.Content[i].Value == name {
			return name
		}
	}
	e.volumes.Put(name, holder.Node)
	return name
}

func (e *exporter) hostVolume(folder string) string {
	place := tree.NewMap()
	place.Put("path", tree.Text(folder))
	return e.volume("host"+strings.NewReplacer("/", "-", ":", "-").Replace(folder), "host", place.Node)
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
			place := tree.NewMap()
			place.Put("medium", tree.Text("memory"))
			for _, option := range m.Options {
				if size, found := strings.CutPrefix(option, "size="); found {
					place.Put("size_limit", tree.Text(size))
				}
			}
			name = e.volume(fmt.Sprintf("memory%s-%s", strings.ReplaceAll(m.Destination, "/", "-"), s.Name), "temp", place.Node)
		case m.Type == pipeline.MountVolume && m.Source != "":
			name = e.volume(m.Source, "temp", tree.NewMap().Node)
		case m.Type == pipeline.MountVolume: // the step's own
			name = e.volume(fmt.Sprintf("own%s-%s", strings.ReplaceAll(m.Destination, "/", "-"), s.Name), "temp", tree.NewMap().Node)
		case m.Type != pipeline.MountVolume && path.IsAbs(m.Source):
			name = e.hostVolume(m.Source)
		default:
			e.refuse("mounts", m.Source+" at "+m.Destination)
			continue
		}
		if readOnly {
			e.refuse("mounts", m.Destination+" is read-only")
		}
		o := tree.NewMap()
		o.Put("name", tree.Text(name))
		o.Put("path", tree.Text(m.Destination))
		mounts = append(mounts, o.Node)
	}
	return tree.List(mounts, func(n **yaml.Node) *yaml.Node { return *n })
}

func (e *exporter) droneDevices(s *pipeline.Step) *yaml.Node {
	if len(s.Security.CDI) > 0 {
		e.refuse("devices", strings.Join(s.Security.CDI, ", "))
	}
	return tree.List(s.Security.Devices, func(d *pipeline.Device) *yaml.Node {
		o := tree.NewMap()
		o.Put("name", tree.Text(e.hostVolume(d.Source)))
		o.Put("path", tree.Text(d.Destination))
		return o.Node
	})
}

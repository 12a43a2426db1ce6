package woodpecker

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
)

// Defaults are what an agent adds to every step.
type Defaults struct {
	Network string          // of steps that name none: private, host or none
	Volumes []string        // mounted into every step, as in a step's volumes
	Limits  pipeline.Limits // of steps that have none of their own
	Trust   Trust           // of every repository, for the options that no server looks at
}

// Translation is a compiled workflow in the model.
type Translation struct {
	Pipeline *pipeline.Pipeline
	Steps    map[string]*Step // those of the pipeline, by the names that they have there
	Never    []*Step          // that run neither on success nor on failure
}

// Pipeline translates a compiled workflow. Its stages become dependencies: a step waits for
// all of the stage before. Services and detached steps are detached steps. The error is a
// pipeline.Errors, one for each key of a step that cannot be had.
func (c *Config) Pipeline(d Defaults) (*Translation, error) {
	t := &translator{config: c, defaults: d, trust: d.Trust, out: &Translation{
		Pipeline: &pipeline.Pipeline{Name: "workflow", Workspace: pluginBase, NewPrivileges: true},
		Steps:    map[string]*Step{},
	}}
	var before []string
	for _, stage := range c.Stages {
		var names []string
		for _, s := range stage.Steps {
			if !s.OnSuccess && !s.OnFailure {
				t.out.Never = append(t.out.Never, s)
				continue
			}
			names = append(names, t.step(s, before))
		}
		if len(names) > 0 {
			before = names
		}
	}
	t.nameSteps()
	if len(t.errs) > 0 {
		return nil, t.errs
	}
	return t.out, nil
}

// cgroups is where containers have their own control groups. Steps with a docker of their own
// mount the host's there, which no container may see; their own serve them as well.
const cgroups = "/sys/fs/cgroup"

// pluginBase is where plugins, and all others that say nothing else, have the workspace.
const pluginBase = "/woodpecker"

type translator struct {
	config   *Config
	defaults Defaults
	trust    Trust
	out      *Translation
	errs     pipeline.Errors
}

// step adds a step to the pipeline and returns the name that it has there.
func (t *translator) step(s *Step, before []string) string {
	name := t.uniqueName(s.Name)
	step, err := pipeline.ParseStep(t.flags(s, name))
	if err != nil {
		t.fail(s, err)
		step = &pipeline.Step{}
	}
	step.Name, step.Image = name, s.Image
	step.DependsOn = append([]string{}, before...) // not nil: it says that there are dependencies
	step.Detach, step.Serves = s.Detached, s.Type == TypeService
	step.When = []pipeline.Condition{{Status: pipeline.RunOn{Success: s.OnSuccess, Failure: s.OnFailure}}}
	if s.Failure == "ignore" {
		step.Failure = pipeline.FailureIgnore
	}
	if s.Pull {
		step.Pull = pipeline.PullAlways
	}
	t.network(s, step)
	t.mounts(s, step)
	t.command(s, step)
	t.options(s, step)
	t.checkPlugin(s, step)
	if s.Type != TypePlugin {
		step.Environment = variables(environment(s))
	}
	t.out.Pipeline.Steps = append(t.out.Pipeline.Steps, *step)
	t.out.Steps[name] = s
	return name
}

// Base are the variables of a plugin, for pipeline.Inputs: none of them is the author's
// but its settings, and so they do not change what a privileged image runs.
func (t *Translation) Base(name string) []pipeline.Variable {
	s := t.Steps[name]
	if s == nil || s.Type != TypePlugin {
		return nil
	}
	return variables(environment(s))
}

// fail notes errors of ParseStep, or another one, as those of a step.
func (t *translator) fail(s *Step, err error) {
	list, ok := err.(pipeline.Errors)
	if !ok {
		list = pipeline.Errors{{Message: err.Error()}}
	}
	for _, e := range list {
		e.Key = strings.TrimSuffix("steps."+s.Name+"."+e.Key, ".")
		t.errs = append(t.errs, e)
	}
}

// uniqueName is the name of a step, with a number where another has it already: a server
// tells steps apart by their uuid.
func (t *translator) uniqueName(name string) string {
	unique := name
	for n := 2; t.out.Steps[unique] != nil; n++ {
		unique = fmt.Sprintf("%s (%d)", name, n)
	}
	return unique
}

// flags are the keys of a step that mean the same in a native file.
func (t *translator) flags(s *Step, name string) []pipeline.Flag {
	flags := []pipeline.Flag{{Name: "name", Key: "name", Value: name}, {Name: "image", Key: "image", Value: s.Image}}
	for key, list := range map[string][]string{"dns": s.DNS, "dns_search": s.DNSSearch, "extra_hosts": hosts(s), "tmpfs": s.Tmpfs, "devices": devices(s)} {
		if len(list) > 0 {
			flags = append(flags, pipeline.Flag{Name: key, Key: key, Value: list})
		}
	}
	if s.WorkingDir != "" {
		flags = append(flags, pipeline.Flag{Name: "directory", Key: "directory", Value: s.WorkingDir})
	}
	if s.Privileged {
		flags = append(flags, pipeline.Flag{Name: "privileged", Key: "privileged", Value: true})
	}
	if docker, ok := s.BackendOptions["docker"].(map[string]any); ok && docker["user"] != nil {
		flags = append(flags, pipeline.Flag{Name: "backend_options.docker.user", Key: "user", Value: fmt.Sprint(docker["user"])})
	}
	return flags
}

func hosts(s *Step) []string {
	var list []string
	for _, h := range s.ExtraHosts {
		list = append(list, h.Name+":"+h.IP)
	}
	return list
}

// devices are rwm, as docker's agent has them, whatever they ask for. The form of one part
// means the same path in the container.
func devices(s *Step) []string {
	var list []string
	for _, text := range s.Devices {
		host, rest, _ := strings.Cut(text, ":")
		container, _, _ := strings.Cut(rest, ":")
		if container == "" {
			container = host
		}
		list = append(list, host+":"+container+":rwm")
	}
	return list
}

// network gives a step the network of the workflow unless it asks for another mode.
func (t *translator) network(s *Step, step *pipeline.Step) {
	switch s.NetworkMode {
	case "":
		step.Network = t.defaults.Network
	case "none", "host":
		step.Network = s.NetworkMode
	case "bridge", "default":
		step.Network = "private"
	default:
		t.fail(s, pipeline.Errors{{Key: "network_mode", Message: fmt.Sprintf("%q is not possible", s.NetworkMode), Hint: "it may be none, host or bridge"}})
	}
}

// nameSteps has the further names of a step or service lead to it.
func (t *translator) nameSteps() {
	for _, list := range [][]pipeline.Step{t.out.Pipeline.Services, t.out.Pipeline.Steps} {
		for i := range list {
			step := &list[i]
			s, ok := t.out.Steps[step.Name]
			if !ok {
				continue
			}
			for _, alias := range aliases(s) {
				if alias != step.Name && pipeline.IsPeerName(alias) && !slices.Contains(step.Names.Aliases, alias) {
					step.Names.Aliases = append(step.Names.Aliases, alias)
				}
			}
		}
	}
}

// aliases are the names of a step on the networks that it is on.
func aliases(s *Step) []string {
	all := []string{s.Name}
	for _, c := range s.Networks {
		all = append(all, c.Aliases...)
	}
	return all
}

// mounts are the workspace, where it is not at its usual place, and the step's volumes.
func (t *translator) mounts(s *Step, step *pipeline.Step) {
	taken := map[string]bool{}
	for i, text := range slices.Concat(s.Volumes, t.defaults.Volumes) {
		if strings.HasPrefix(text, cgroups+":"+cgroups) { // it has its own there
			continue
		}
		m, err := t.mount(s, i, text)
		if err != nil {
			t.fail(s, pipeline.Errors{{Key: "volumes", Message: err.Error()}})
			continue
		}
		isUsual := m.Source == pipeline.WorkspaceVolume && m.Destination == pluginBase
		if isUsual || taken[m.Destination] {
			continue
		}
		taken[m.Destination] = true
		step.Mounts = append(step.Mounts, m)
	}
}

// mount reads SOURCE:DESTINATION[:MODE], of which a source without a slash is the name of
// a volume, or DESTINATION alone for a volume of the step's own.
func (t *translator) mount(s *Step, number int, text string) (pipeline.Mount, error) {
	source, rest, found := strings.Cut(text, ":")
	if !found {
		source, rest = "", text
	}
	destination, mode, _ := strings.Cut(rest, ":")
	access := "rw"
	if slices.Contains(strings.Split(mode, ","), "ro") {
		access = "ro"
	}
	form := source
	if !path.IsAbs(source) {
		form = "/" // checked as a bind mount, for the destination
	}
	m, err := pipeline.ParseVolume(form + ":" + destination + ":" + access)
	if err != nil {
		return m, err
	}
	switch {
	case path.IsAbs(source):
		m.Create = true // docker makes it, too
	case source == "":
		m.Type, m.Source = pipeline.MountVolume, fmt.Sprintf("anonymous-%s-%d", notInVolume().ReplaceAllString(s.UUID, "-"), number)
		t.out.Pipeline.Volumes = append(t.out.Pipeline.Volumes, m.Source)
	case source == t.config.Volume:
		m.Type, m.Source = pipeline.MountVolume, pipeline.WorkspaceVolume
	case len(source) > maxVolume || !volumeForm().MatchString(source):
		return m, fmt.Errorf("%q is neither an absolute path nor the name of a volume", source)
	default:
		m.Type, m.Source = pipeline.MountCache, source
	}
	return m, nil
}

var notInVolume = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^A-Za-z0-9]+`) })

var volumeForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`) })

const maxVolume = 100 // characters of a name

// variables are NAME: value in the order of the names.
func variables(values map[string]string) []pipeline.Variable {
	var list []pipeline.Variable
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			continue // docker's agent hands those on in no way that a step could read
		}
		v := pipeline.Variable{Name: name, Value: pipeline.Value{Text: values[name]}}
		if fact, told := runFacts[name]; told {
			v.Value = pipeline.Value{FromRun: fact}
		}
		list = append(list, v)
	}
	return list
}

// runFacts are the variables that tell of the run.
var runFacts = map[string]pipeline.RunFact{
	"CI_PIPELINE_STATUS": pipeline.RunStatus,
	"CI_STEP_STARTED":    pipeline.RunStarted,
	"DRONE_BUILD_STATUS": pipeline.RunStatus,
}

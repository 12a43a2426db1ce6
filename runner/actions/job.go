package actions

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/sandbox/network"
)

// jobName is the job's container among the services.
const jobName = "github-job"

// CreateOptions are docker's flags that a workflow gives a container (options:), read.
type CreateOptions struct {
	Flags    []pipeline.Flag // keys of a step
	Env      []pipeline.Variable
	EnvFiles []string        // files of the host with more variables
	Aliases  []string        // host names
	Ports    []pipeline.Port // published ports; the host's may be pipeline.FreePort
	Volumes  []Volume        // volumes by their names
	Ready    *pipeline.Ready // nil: by the image
	Network  string          // "": the job's
	Command  *string         // entrypoint; nil: not given
	Warnings []string
}

// ReadOptions reads the words of createOptions. An option that it does not know is an
// error that names it.
type ReadOptions func(words []string) (CreateOptions, error)

// job makes a pipeline of the containers of a job: all of them are services, for they run
// beside the steps, which come one by one and are not known before.
type job struct {
	read     ReadOptions
	network  string // of containers that do not say otherwise
	pipeline pipeline.Pipeline
	response Response
	logins   map[string]pull.Login
	warnings []string
}

// newJob reads what PrepareJob asks for.
func newJob(args *Args, read ReadOptions, network string) (*job, error) {
	j := &job{read: read, network: network, logins: map[string]pull.Login{}, pipeline: pipeline.Pipeline{Name: "job", NewPrivileges: true, SafeDirectory: true}}
	j.response.Context.Services = []ResponseContainer{}
	for i := range args.Services {
		c := &args.Services[i]
		name := c.ContextName
		if name == "" || name == jobName || !pipeline.IsHostName(name) {
			name = fmt.Sprintf("service-%d", i+1)
		}
		step, err := j.step(c, name)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		if step.Ready == nil {
			step.Ready = &pipeline.Ready{Health: &pipeline.Health{}}
		}
		j.pipeline.Services = append(j.pipeline.Services, *step)
		j.response.Context.Services = append(j.response.Context.Services, ResponseContainer{Image: c.Image, Ports: portContext(step.Names.Ports)})
	}
	if args.Job == nil {
		j.addNames(args.Services)
		return j, nil
	}
	step, err := j.step(args.Job, jobName)
	if err != nil {
		return nil, fmt.Errorf("the job's container: %w", err)
	}
	if step.Entrypoint == nil && step.Args == nil {
		step.Entrypoint = []string{"tail", "-f", "/dev/null"} // it is to do nothing, for long
	}
	step.Ready = &pipeline.Ready{None: true}
	j.pipeline.Services = append(j.pipeline.Services, *step)
	j.addNames(args.Services)
	j.response.Context.Container = &ResponseContainer{Image: args.Job.Image, Ports: portContext(step.Names.Ports)}
	return j, nil
}

// step makes a step of a container.
func (j *job) step(c *Container, name string) (*pipeline.Step, error) {
	switch {
	case c.Dockerfile != "":
		return nil, fmt.Errorf("it is to be built from %s: only actions are built, not the containers of a job", c.Dockerfile)
	case strings.Contains(c.Image, builtName):
		return nil, fmt.Errorf("image %s: what was built for an action is for that action alone", c.Image)
	case c.Image == "" && c.Built == "":
		return nil, errors.New("the runner names neither an image nor a Dockerfile")
	}
	words, err := splitOptions(c.CreateOptions)
	if err != nil {
		return nil, err
	}
	options, err := j.read(words)
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	j.warnings = append(j.warnings, options.Warnings...)
	step, err := pipeline.ParseStep(append([]pipeline.Flag{
		{Name: "image", Key: "image", Value: cmp.Or(c.Built, strings.TrimPrefix(c.Image, "docker://"))}, {Name: "name", Key: "name", Value: name},
	}, options.Flags...))
	if err != nil {
		return nil, err
	}
	if c.Built != "" {
		step.Pull = pipeline.PullNever
	}
	step.Ready = options.Ready
	if step.Network == "" {
		step.Network = j.network
	}
	if step.Directory == "" {
		step.Directory = c.WorkingDirectory
	}
	step.Names.Aliases = append(step.Names.Aliases, options.Aliases...)
	c.setCommand(step, options.Command)
	step.EnvFiles = options.EnvFiles
	c.setEnvironment(step, options.Env)
	c.UserMounts = append(c.UserMounts, options.Volumes...)
	if err := errors.Join(c.setMounts(step), c.setPorts(step, options.Ports), j.login(c, step.Image)); err != nil {
		return nil, err
	}
	return step, nil
}

// setCommand follows docker: an entrypoint takes the image's command away.
func (c *Container) setCommand(step *pipeline.Step, entrypoint *string) {
	words := c.command()
	switch {
	case c.EntryPoint != "":
		step.Entrypoint = []string{c.EntryPoint}
	case entrypoint != nil && *entrypoint != "":
		step.Entrypoint = []string{*entrypoint}
	}
	if step.Entrypoint != nil || len(words) > 0 {
		step.Args = words
	}
}

// setEnvironment gives a step the variables that every container of a job has, those of
// options and the runner's.
func (c *Container) setEnvironment(step *pipeline.Step, options []pipeline.Variable) {
	env := map[string]pipeline.Value{"CI": {Text: "true"}, "GITHUB_ACTIONS": {Text: "true"}}
	for _, variable := range options {
		env[variable.Name] = variable.Value
	}
	for name, text := range c.Environment {
		env[name] = pipeline.Value{Text: text}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		step.Environment = append(step.Environment, pipeline.Variable{Name: name, Value: env[name]})
	}
}

// dockerSocket is mounted by the runner into every container. The hook leaves it out: it
// would make whoever writes a workflow root of the machine.
const dockerSocket = "/var/run/docker.sock"

var volumeName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$`) })

func (c *Container) setMounts(step *pipeline.Step) error {
	for _, v := range c.SystemMounts {
		if v.Source == dockerSocket {
			continue
		}
		m, err := v.mount()
		if err != nil {
			return err
		}
		m.Owned = !v.ReadOnly
		step.Mounts = append(step.Mounts, m)
	}
	for i, v := range c.UserMounts {
		if v.Source == "" {
			v.Source = fmt.Sprintf("%s.%d", step.Name, i)
			m, err := v.mount()
			if err != nil {
				return err
			}
			m.Type = pipeline.MountVolume
			step.Mounts = append(step.Mounts, m)
			continue
		}
		m, err := v.mount()
		if err != nil {
			return err
		}
		step.Mounts = append(step.Mounts, m)
	}
	return nil
}

func (v *Volume) mount() (pipeline.Mount, error) {
	if !path.IsAbs(v.Target) {
		return pipeline.Mount{}, fmt.Errorf("volume %s: the target %q must be an absolute path", v.Source, v.Target)
	}
	m := pipeline.Mount{Type: "bind", Source: v.Source, Destination: path.Clean(v.Target), Options: []string{"rbind", "rw"}, Create: true}
	if v.ReadOnly {
		m.Options[1] = "ro"
	}
	switch {
	case filepath.IsAbs(v.Source):
		m.Source = filepath.Clean(v.Source) // the runner's paths may begin with two slashes
	case volumeName().MatchString(v.Source):
		m.Type, m.Source, m.Create, m.Owned, m.Fill = pipeline.MountCache, policy.ActionsVolumes+v.Source, false, true, !v.NoCopy
	default:
		return m, fmt.Errorf("volume %q: must be an absolute path of the host, or the name of a volume (write ${{ github.workspace }}/… for a folder of the checkout)", v.Source)
	}
	return m, nil
}

// setPorts publishes ports of the job's own network. On the host's they are the host's.
func (c *Container) setPorts(step *pipeline.Step, options []pipeline.Port) error {
	ports, err := mappedPorts(c.Ports)
	if err != nil {
		return err
	}
	for _, port := range append(ports, options...) {
		switch isHosts := step.Network == "host"; {
		case isHosts && port.Host > 0 && port.Host != port.Container:
			return fmt.Errorf("port %d:%d: on the host's network a port of a container is the port of the host with the same number (write %d:%d, or give the job a network of its own: --network private of stepexec actions-hook)", port.Host, port.Container, port.Container, port.Container)
		case isHosts:
			port.Host = port.Container
		case port.Host == pipeline.FreePort:
			if port.Host, err = network.FreePort(port); err != nil {
				return fmt.Errorf("port %d: %w", port.Container, err)
			}
		}
		step.Names.Ports = append(step.Names.Ports, port)
	}
	return nil
}

// login notes who pulls the image. A password goes to the registry that it is for, and to
// no other.
func (j *job) login(c *Container, image string) error {
	r := c.Registry
	if r == nil || r.Username == "" && r.Password == "" {
		return nil
	}
	host := pull.RegistryOf(image)
	if of := registryHost(r.ServerURL); host == "" || of != "" && of != host {
		return fmt.Errorf("image %s: the credentials are for %s", image, r.ServerURL)
	}
	j.logins[host] = pull.Login{Username: r.Username, Password: r.Password}
	return nil
}

// registryHost is the registry of a server's URL; "" is any.
func registryHost(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "" {
		return ""
	}
	return pull.RegistryOf(host + "/image")
}

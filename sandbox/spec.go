package sandbox

import (
	"slices"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultPath is the PATH of a step when neither it nor its image has one.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// newSpec builds the OCI runtime spec of a step from its parts, each of which covers one subject.
// files are the mounts of stepexec's own files.
func (h *Host) newSpec(step *Step, rootfs string, who *user.ExecUser, files []specs.Mount) (*specs.Spec, error) {
	argv, err := step.command()
	if err != nil {
		return nil, err
	}
	name, err := hostname(step)
	if err != nil {
		return nil, err
	}
	namespaces, err := h.namespaces(step)
	if err != nil {
		return nil, err
	}
	spec := &specs.Spec{
		Version:  "1.0.2", // accepted by runc 1.1, the oldest runtime still in use
		Root:     &specs.Root{Path: rootfs},
		Hostname: ownHostname(step, name),
		Process: &specs.Process{
			Args: argv,
			Cwd:  workingDirectory(step),
			Env:  environment(step, who.Home, name),
			User: processUser(who),
		},
		Mounts: mounts(step, files),
		Linux: &specs.Linux{
			Namespaces: namespaces,
			Resources:  &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: step.Security.Privileged, Access: "rwm"}}},
		},
	}
	if step.Advanced.Init {
		spec.Process.Args = withInit(argv)
	}
	if step.Advanced.TTY {
		withTerminal(spec.Process)
	}
	if spec.Linux.Sysctl, err = h.sysctls(step); err != nil {
		return nil, err
	}
	if err := h.limit(spec, step); err != nil {
		return nil, err
	}
	h.mapUser(spec, step)
	return spec, h.secure(spec, step)
}

func workingDirectory(step *Step) string {
	switch {
	case step.Directory != "":
		return step.Directory
	case step.Config.WorkingDir != "":
		return "/" + strings.TrimLeft(step.Config.WorkingDir, "/")
	}
	return "/"
}

// environment adds the step's variables to the image's. PATH, HOME and HOSTNAME are filled in where
// neither sets them.
func environment(step *Step, home, hostname string) []string {
	env := []string{"PATH=" + DefaultPath, "HOSTNAME=" + hostname, "HOME=" + home}
	at := map[string]int{"PATH": 0, "HOSTNAME": 1, "HOME": 2}
	for _, variable := range slices.Concat(variables(step.Config.Env), step.Env) {
		name, _, _ := strings.Cut(variable, "=")
		if i, ok := at[name]; ok {
			env[i] = variable
			continue
		}
		at[name] = len(env)
		env = append(env, variable)
	}
	if step.SafeDirectory {
		return withSafeDirectory(env)
	}
	return env
}

// variables returns an image's variables without the entries that are none, as docker does: some
// builders write NAME without a value, and runtimes refuse such entries.
func variables(entries []string) []string {
	return slices.DeleteFunc(slices.Clone(entries), func(entry string) bool {
		return strings.Index(entry, "=") < 1 || strings.Contains(entry, "\x00")
	})
}

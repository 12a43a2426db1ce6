package sandbox

import (
	"errors"
	"fmt"
	"os"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/stepexec/stepexec/beneath"
)

// maxSeccompProfile is in bytes, and many times the size of docker's own profile, 14 KiB.
const maxSeccompProfile = 1 << 20

// seccompFilter returns the filter of a step's system calls, or nil for none. Privileged steps do
// not get the default profile, but a profile from a file applies to all steps.
func seccompFilter(step *Step, spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	s := &step.Security
	switch {
	case s.Seccomp == "unconfined", s.Seccomp == "" && s.Privileged, s.Seccomp == "default" && s.Privileged:
		return nil, nil
	case s.Seccomp == "" || s.Seccomp == "default":
		return defaultSeccomp(spec)
	}
	filter, err := readSeccomp(step.at(s.Seccomp), spec)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %w", s.Seccomp, err)
	}
	return filter, nil
}

func defaultSeccomp(spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	filter, err := seccomp.GetDefaultProfile(spec)
	if err != nil {
		return nil, fmt.Errorf("default seccomp profile: %w", err)
	}
	// It has only the native architecture: a profile for all of a machine's architectures costs 8
	// ms more per create (25 instead of 16 ms, runc 1.1.5).
	if native := filter.Architectures; len(native) > 1 {
		filter.Architectures = native[:1]
	}
	return filter, nil
}

// readSeccomp reads a profile in docker's JSON format, whose rules may depend on the machine and on
// the step's capabilities.
func readSeccomp(path beneath.Path, spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	data, err := path.ReadFile(maxSeccompProfile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("no such file (use default, unconfined or the path of a profile)")
	}
	if err != nil {
		return nil, err
	}
	filter, err := seccomp.LoadProfile(string(data), spec)
	if err != nil {
		return nil, fmt.Errorf("not a profile in docker's JSON format: %w", err)
	}
	// A file without rules filters nothing, and is most likely the wrong file.
	if filter == nil || filter.DefaultAction == "" {
		return nil, errors.New("not a profile in docker's JSON format: it has no defaultAction (to filter nothing use unconfined)")
	}
	// The runtime would connect, as root of the host, to a socket that the file names.
	if filter.ListenerPath != "" {
		return nil, errors.New("listenerPath is not supported (remove it)")
	}
	return filter, nil
}

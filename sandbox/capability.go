package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// allCapabilities in CapAdd or CapDrop stands for all capabilities.
const allCapabilities = "CAP_ALL"

// defaultCapabilities returns docker's default set, for which images are written:
// https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
func defaultCapabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
		"CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP",
		"CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// availableCapabilities returns the capabilities that this process can pass on: a runtime fails
// when it is told to raise a capability outside the bounding set.
func availableCapabilities() ([]string, error) {
	set, err := capability.NewPid2(0)
	if err != nil {
		return nil, fmt.Errorf("read own capabilities: %w", err)
	}
	if err := set.Load(); err != nil {
		return nil, fmt.Errorf("read own capabilities: %w", err)
	}
	known, err := capability.ListSupported()
	if err != nil {
		return nil, fmt.Errorf("list the kernel's capabilities: %w", err)
	}
	var names []string
	for _, c := range known {
		if set.Get(capability.BOUNDING, c) {
			names = append(names, capabilityName(c))
		}
	}
	return names, nil
}

func capabilityName(c capability.Cap) string { return "CAP_" + strings.ToUpper(c.String()) }

// grantedCapabilities returns a step's set, by docker's rules. A privileged step has all available
// capabilities, whatever it drops. Otherwise CapAdd with ALL means everything except CapDrop;
// CapDrop with ALL leaves only CapAdd; and in all other cases CapDrop is removed from the default
// set before CapAdd is added.
func grantedCapabilities(available []string, s *Security) ([]string, error) {
	add, err := normalCapabilities("cap_add", s.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := normalCapabilities("cap_drop", s.CapDrop)
	if err != nil {
		return nil, err
	}
	for _, name := range add {
		if name != allCapabilities && !slices.Contains(available, name) {
			return nil, fmt.Errorf("cap_add %s: stepexec itself does not have it and cannot give it (run stepexec with it, or leave it out)", name)
		}
	}
	switch {
	case s.Privileged:
		return available, nil
	case slices.Contains(add, allCapabilities):
		return without(available, drop), nil
	case slices.Contains(drop, allCapabilities):
		return add, nil
	}
	granted := without(defaultCapabilities(), drop)
	granted = slices.DeleteFunc(granted, func(name string) bool { return !slices.Contains(available, name) })
	return append(granted, without(add, granted)...), nil
}

// without returns names without those in out, as a new slice.
func without(names, out []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(out, name) })
}

// normalCapabilities converts names to the form of the kernel's headers, such as CAP_NET_ADMIN.
func normalCapabilities(key string, names []string) ([]string, error) {
	known := []string{allCapabilities}
	for _, c := range capability.ListKnown() {
		known = append(known, capabilityName(c))
	}
	var normal []string
	for _, name := range names {
		full := "CAP_" + strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		if !slices.Contains(known, full) {
			return nil, fmt.Errorf("%s %q: there is no such capability (%s)", key, name, nearestCapability(full, known))
		}
		normal = append(normal, full)
	}
	return normal, nil
}

// nearestCapability suggests the name that shares the most pairs of letters with a wrong one. It
// finds NET_ADMIN for NETADMIN and for ADMIN_NET.
func nearestCapability(wrong string, known []string) string {
	best, most := "", 0
	for _, name := range known {
		shared := 0
		for i := len("CAP_"); i+2 <= len(wrong); i++ {
			if strings.Contains(name[len("CAP_"):], wrong[i:i+2]) {
				shared += 2
			}
		}
		if shared -= max(len(name)-len(wrong), len(wrong)-len(name)); shared > most {
			best, most = name, shared
		}
	}
	if best == "" {
		return "see capabilities(7) for their names"
	}
	return fmt.Sprintf("did you mean %s?", strings.TrimPrefix(best, "CAP_"))
}

// capabilitySets gives the granted capabilities to a step's root. The inheritable and ambient sets
// stay empty: a non-root step that executes a file with inheritable file capabilities would gain
// them (CVE-2022-24769).
func capabilitySets(granted []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: granted, Effective: granted, Permitted: granted}
}

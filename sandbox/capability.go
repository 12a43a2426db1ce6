package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCapabilities is docker's set, which images are written against:
// https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
func defaultCapabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
		"CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP",
		"CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// availableCapabilities names what this process may hand on: a runtime fails
// when it is told to raise a capability that is not in the bounding set.
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
			names = append(names, "CAP_"+strings.ToUpper(c.String()))
		}
	}
	return names, nil
}

// capabilities is the step's set. The inheritable and ambient sets stay
// empty: a non-root step that executes a file with inheritable file
// capabilities would gain them (CVE-2022-24769).
func capabilities(available []string, privileged bool) *specs.LinuxCapabilities {
	granted := available
	if !privileged {
		granted = slices.DeleteFunc(defaultCapabilities(), func(c string) bool {
			return !slices.Contains(available, c)
		})
	}
	return &specs.LinuxCapabilities{Bounding: granted, Effective: granted, Permitted: granted}
}

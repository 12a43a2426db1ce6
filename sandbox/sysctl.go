package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox/network"
)

// sysctls returns the kernel settings in the namespaces of a step: the initial ones of its own
// network, then those that it asks for.
func (h *Host) sysctls(step *Step) (map[string]string, error) {
	all := map[string]string{}
	ownNetwork := h.hasOwnNetwork(step)
	if ownNetwork {
		all = network.ContainerSysctls(h.lastGroup(step))
	}
	for _, name := range slices.Sorted(maps.Keys(step.Advanced.Sysctls)) {
		if err := checkSysctl(name, ownNetwork, joined(step, specs.IPCNamespace) == ""); err != nil {
			return nil, fmt.Errorf("sysctls: %s: %w", name, err)
		}
		all[name] = step.Advanced.Sysctls[name]
	}
	return all, nil
}

// checkSysctl accepts settings that the kernel keeps for each namespace, if the namespace is the
// step's own. All others are the host's.
func checkSysctl(name string, ownNetwork, ownIPC bool) error {
	switch {
	case strings.ContainsAny(name, "/\x00") || strings.Contains(name, ".."):
		return errors.New("must be written with dots, like net.core.somaxconn")
	case strings.HasPrefix(name, "net."):
		if !ownNetwork {
			return errors.New("needs a network of the step's own (set network: private or none)")
		}
		return nil
	case isIPCSysctl(name):
		if !ownIPC {
			return errors.New("belongs to the IPC namespace that the step joins")
		}
		return nil
	}
	return errors.New("is a setting of the whole machine (a step may set net.*, fs.mqueue.*, kernel.msg*, kernel.sem and kernel.shm*)")
}

func isIPCSysctl(name string) bool {
	return strings.HasPrefix(name, "fs.mqueue.") ||
		slices.Contains([]string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"}, name)
}

// sysctlFailure recognises messages of runc which say that a setting that the step asks for cannot be
// set, and returns its name, with why.
func sysctlFailure(message string, asked map[string]string) (name, why string) {
	found := regexp.MustCompile(`/proc/sys/(\S+): (.*)$`).FindStringSubmatch(message)
	if found == nil {
		return "", ""
	}
	name = strings.ReplaceAll(found[1], "/", ".")
	value, isAsked := asked[name]
	switch {
	case !isAsked:
		return "", ""
	case found[2] == unix.ENOENT.Error():
		return name, "this kernel has no such setting in a step's own namespaces"
	case found[2] == unix.EACCES.Error(), found[2] == unix.EPERM.Error():
		return name, "this kernel does not allow a step to set it"
	case found[2] == unix.EINVAL.Error():
		return name, fmt.Sprintf("the kernel refuses the value %q", value)
	}
	return name, found[2]
}

// lastGroup returns the highest group id up to which a step's user namespace has all ids: the
// kernel accepts no other range for ping_group_range.
func (h *Host) lastGroup(step *Step) int64 {
	if maps := step.Security.GIDMap; len(maps) > 0 {
		last := int64(0)
		for _, m := range maps {
			if m.Container == 0 {
				last = int64(m.Size) - 1
			}
		}
		return last
	}
	if !h.rootless {
		return 1 << 31
	}
	data, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return 0
	}
	last := int64(-1)
	for line := range strings.Lines(string(data)) {
		var inside, outside, size int64
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err == nil && inside == last+1 {
			last += size
		}
	}
	return max(last, 0)
}

package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// delegation is the part of the machine's cgroups that is a user's own; see
// "Delegation" in the kernel's cgroup-v2.rst.
type delegation struct {
	trees  []hierarchy // in which steps can have groups
	parent string      // of the steps' groups; "": the runtime chooses a place below stepexec's own group
}

// findDelegation finds out where a user without root may make groups. In v1 it
// is below stepexec's own group. In v2 it is beside it: a group with processes
// cannot have others below that limit anything.
func findDelegation(trees []hierarchy) (delegation, error) {
	own, err := groupsOf("self")
	if err != nil {
		return delegation{}, err
	}
	var d delegation
	for _, tree := range trees {
		dir := ""
		for line := range own {
			controllers, path, _ := strings.Cut(line, ":")
			if found := directory(controllers, path, []hierarchy{tree}); found != "" {
				dir = found
			}
		}
		if tree.unified {
			dir = filepath.Dir(dir)
		}
		if dir == "" || dir == "." || unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) != nil || unix.Access(dir, unix.W_OK) != nil {
			continue
		}
		if tree.unified {
			tree.controllers = enabled(dir)
		}
		d.trees = append(d.trees, tree)
		if tree.unified && len(trees) == 1 {
			below, err := filepath.Rel(tree.mountpoint, dir)
			if err != nil {
				return delegation{}, err
			}
			d.parent = "/" + below
		}
	}
	return d, nil
}

// enabled are the controllers that a group of v2 can hand to those below it.
func enabled(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil // none that can be used
	}
	return strings.Fields(string(text))
}

// groupsOf reads the groups of a process as lines CONTROLLERS:PATH.
func groupsOf(pid string) (map[string]bool, error) {
	name := "/proc/" + pid + "/cgroup"
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		_, group, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok || !strings.Contains(group, ":") {
			return nil, fmt.Errorf("read %s: unexpected line %q", name, line)
		}
		lines[group] = true
	}
	return lines, nil
}

// keepDelegated leaves out the limits for which a user without root has no
// controller, and says so of those that were asked for, once of each setting.
func (h *Host) keepDelegated(r *specs.LinuxResources, l *Limits) {
	var missing []string
	ask := func(setting string, asked bool) {
		if !asked {
			return
		}
		if _, said := h.told.LoadOrStore(setting, true); !said {
			missing = append(missing, setting)
		}
	}
	has := func(controller string) bool {
		_, ok := controlledBy(h.delegated, controller)
		return ok
	}
	if !has("cpu") {
		r.CPU.Quota, r.CPU.Period, r.CPU.Shares = nil, nil, nil
		ask("cpus", l.CPUs != 0)
		ask("cpu_quota", l.CPUQuota != 0)
		ask("cpu_shares", l.CPUShares != 0)
	}
	if !has("cpuset") {
		r.CPU.Cpus, r.CPU.Mems = "", ""
		ask("cpuset_cpus", l.CpusetCPUs != "")
		ask("cpuset_mems", l.CpusetMems != "")
	}
	if !has("memory") {
		r.Memory = nil
		ask("memory", l.Memory != 0)
	}
	if !has("pids") {
		r.Pids = nil
		ask("pids", l.Pids > 0)
	}
	if !has("blkio") && !has("io") {
		r.BlockIO = nil
		ask("io_weight", l.IOWeight != 0)
	}
	if len(missing) > 0 {
		h.warn(fmt.Sprintf("not limited: %s: the cgroup controllers for that are not delegated to this user (with cgroup v2, start stepexec by systemd-run --user --scope -p Delegate=yes; else as root)", strings.Join(missing, ", ")))
	}
}

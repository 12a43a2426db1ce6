package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// delegation is the part of the machine's cgroups that belongs to a user; see "Delegation" in the
// kernel's cgroup-v2.rst.
type delegation struct {
	trees  []hierarchy // trees in which steps can have groups
	parent string      // of the steps' groups; "": the runtime chooses a place below stepexec's own group
}

// findDelegation finds the place where a user without root may create groups. In v1 it is below
// stepexec's own group. In v2 it is beside it: a group with processes cannot limit groups below it.
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

// enabled returns the controllers that a v2 group can pass to the groups below it.
func enabled(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil // no usable controllers
	}
	return strings.Fields(string(text))
}

// groupsOf returns the groups of a process as lines CONTROLLERS:PATH.
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

// keepDelegated drops the limits for which a user without root has no controller. It warns about
// requested limits, once for each setting.
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

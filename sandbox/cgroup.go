package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// cgroupRoot is where runtimes, and this package, look for the hierarchies.
const cgroupRoot = "/sys/fs/cgroup"

// cgroupName returns the name of a container's cgroup in every hierarchy.
func cgroupName(containerID string) string { return "stepexec-" + containerID }

// hasOnlyCgroup2 reports whether /sys/fs/cgroup is cgroup v2 itself rather than a directory of v1
// or hybrid hierarchies.
func hasOnlyCgroup2() bool {
	var st unix.Statfs_t
	return unix.Statfs(cgroupRoot, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// hierarchy is a mounted tree of cgroups; see cgroups(7).
type hierarchy struct {
	mountpoint  string
	root        string // the group of the whole tree that is mounted there
	unified     bool   // cgroup v2
	controllers []string
}

// listHierarchies returns the trees of this machine: one for every v1 controller, the v2 tree, or,
// on a hybrid machine, both kinds.
func listHierarchies() ([]hierarchy, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var all []hierarchy
	for _, m := range mounts {
		if m.Mountpoint != cgroupRoot && filepath.Dir(m.Mountpoint) != cgroupRoot {
			continue // mounted a second time, such as in a container
		}
		tree := hierarchy{mountpoint: m.Mountpoint, root: m.Root, unified: m.FSType == "cgroup2"}
		tree.controllers = strings.Split(m.VFSOptions, ",")
		if tree.unified {
			text, err := os.ReadFile(filepath.Join(m.Mountpoint, "cgroup.controllers"))
			if err != nil {
				return nil, fmt.Errorf("list cgroup controllers: %w", err)
			}
			tree.controllers = strings.Fields(string(text))
		}
		all = append(all, tree)
	}
	return all, nil
}

// cgroupTrees lists the trees. If systemd is to create groups in them, it also makes sure that
// systemd runs.
func cgroupTrees(systemd bool) ([]hierarchy, error) {
	if _, err := os.Stat("/run/systemd/system"); systemd && err != nil { // sd_booted(3)
		return nil, fmt.Errorf("%w: %w (leave out --systemd-cgroup)", ErrNoSystemd, err)
	}
	return listHierarchies()
}

// controlledBy returns the tree that has the controller.
func controlledBy(trees []hierarchy, controller string) (hierarchy, bool) {
	i := slices.IndexFunc(trees, func(h hierarchy) bool { return slices.Contains(h.controllers, controller) })
	if i < 0 {
		return hierarchy{}, false
	}
	return trees[i], true
}

// cgroup is a container's group: one directory in every tree.
type cgroup struct {
	dir     string            // one whose cgroup.procs lists the container's processes; "": there is none
	unified string            // v2 directory; "": none
	v1      map[string]string // v1 directories, by controller
}

// findCgroup finds the groups in which the runtime has put the process pid; see cgroups(7).
func findCgroup(pid int, trees []hierarchy) (cgroup, error) {
	name := fmt.Sprintf("/proc/%d/cgroup", pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return cgroup{}, err
	}
	// The groups of stepexec itself do not belong to the container: a runtime without the right to
	// create groups leaves the container in them, among the user's own programs.
	own, err := groupsOf("self")
	if err != nil {
		return cgroup{}, err
	}
	found := cgroup{v1: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			return cgroup{}, fmt.Errorf("read %s: unexpected line %q", name, line)
		}
		dir := directory(parts[1], parts[2], trees)
		if dir == "" || own[parts[1]+":"+parts[2]] {
			continue
		}
		if parts[1] == "" {
			found.unified = dir
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			found.v1[controller] = dir
		}
	}
	found.dir = found.v1["memory"]
	if found.dir == "" {
		found.dir = found.unified
	}
	return found, nil
}

// directory turns a line of /proc/PID/cgroup into a directory of the host. It returns "" when the
// tree is not mounted, and when the runtime has left the process at the tree's root: that group
// belongs to everybody, and whoever took it for the container's would signal every process of the
// host.
func directory(controllers, path string, trees []hierarchy) string {
	if strings.HasPrefix(path, "/..") { // outside this cgroup namespace
		return ""
	}
	for _, tree := range trees {
		if tree.unified != (controllers == "") {
			continue
		}
		if first, _, _ := strings.Cut(controllers, ","); !tree.unified && !slices.Contains(tree.controllers, first) {
			continue
		}
		if rest, err := filepath.Rel(tree.root, path); err == nil && filepath.IsLocal(rest) && rest != "." {
			return filepath.Join(tree.mountpoint, rest)
		}
	}
	return ""
}

// pids returns the processes that are in the group now.
func (c cgroup) pids() (map[int]bool, error) {
	if c.dir == "" {
		return nil, nil
	}
	data, err := os.ReadFile(filepath.Join(c.dir, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("list the step's processes: %w", err)
	}
	pids := map[int]bool{}
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("list the step's processes: %w", err)
		}
		pids[pid] = true
	}
	return pids, nil
}

// thaw resumes a frozen group. A process in a frozen v1 group does not even die: SIGKILL takes
// effect only after the thaw. In a frozen v2 group it dies.
func (c cgroup) thaw() error {
	dir, ok := c.v1["freezer"]
	if !ok {
		return nil
	}
	err := os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("thaw the step's processes: %w", err)
	}
	return nil
}

// kill ends the container's first process. The kernel then kills all others, because process 1 of
// their namespace has ended.
func (s *Sandbox) kill() error {
	return errors.Join(ignoreDone(s.init.Kill()), s.cgroup.thaw())
}

package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups finds the version of cgroups, and which limits of steps work.
func (m *Machine) cgroups(context.Context) Result {
	mounts, err := m.read("/proc/self/mountinfo")
	if err != nil {
		return fail(err.Error(), "mount -t proc proc /proc")
	}
	trees := readTrees(mounts)
	if trees.unified == "" && len(trees.controllers) == 0 {
		return fail("no cgroups are mounted", "mount -t cgroup2 none /sys/fs/cgroup")
	}
	version := "v1"
	if trees.unified != "" {
		names, err := m.read(trees.unified + "/cgroup.controllers")
		if err != nil {
			return fail(err.Error(), "")
		}
		version = "v1 and v2 (hybrid)"
		if len(trees.controllers) == 0 {
			version = "v2"
		}
		trees.controllers = append(trees.controllers, strings.Fields(names)...)
	}
	return m.judgeControllers(version, trees)
}

func (m *Machine) judgeControllers(version string, trees trees) Result {
	var lacks []string
	for _, controller := range []string{"memory", "pids", "cpu", "cpuset", "io"} {
		if !slices.Contains(trees.controllers, controller) && (controller != "io" || !slices.Contains(trees.controllers, "blkio")) {
			lacks = append(lacks, controller)
		}
	}
	detail := version
	if len(lacks) > 0 {
		return warn(fmt.Sprintf("%s without %s: such limits are refused", detail, strings.Join(lacks, ", ")), m.enable(version, lacks))
	}
	detail += " with memory, pids, cpu, cpuset, io"
	if version == "v2" && m.isRoot() && !trees.favorDynamic {
		detail += "; steps start faster after: mount -o remount,favordynmods /sys/fs/cgroup"
	}
	if !m.isRoot() {
		return m.judgeDelegation(version, detail)
	}
	return ok(detail)
}

func (m *Machine) enable(version string, controllers []string) string {
	if version == "v2" && m.isRoot() {
		return "echo +" + strings.Join(controllers, " +") + " > /sys/fs/cgroup/cgroup.subtree_control, or a kernel that has them"
	}
	return "boot with systemd.unified_cgroup_hierarchy=1, or a kernel that has them"
}

// judgeDelegation checks whether a normal user may create groups beside the current one: a group
// with processes of its own cannot limit groups below it.
func (m *Machine) judgeDelegation(version, detail string) Result {
	own, err := m.read("/proc/self/cgroup")
	if err != nil || version != "v2" {
		return warn(detail+"; not delegated to this user: limits are ignored, with a warning", "use cgroup v2 and systemd")
	}
	group := filepath.Dir(strings.TrimPrefix(own, "0::"))
	dir := filepath.Join("/sys/fs/cgroup", group)
	names, err := m.read(dir + "/cgroup.controllers")
	if unix.Access(filepath.Join(m.Files, dir, "cgroup.procs"), unix.W_OK) != nil {
		return warn(fmt.Sprintf("%s; %s is not this user's: limits are ignored, with a warning", detail, group), "systemd-run --user --scope -p Delegate=yes stepexec run")
	}
	if err != nil || !strings.Contains(names, "memory") || !strings.Contains(names, "pids") {
		return warn(fmt.Sprintf("%s; of these %s has %q: other limits are ignored, with a warning", detail, group, names), "systemd-run --user --scope -p Delegate=yes stepexec run")
	}
	return ok(detail + "; this user's " + group + " has " + names)
}

// trees describes the cgroup mounts in mountinfo.
type trees struct {
	unified      string // mount point of v2
	controllers  []string
	favorDynamic bool // v2 is mounted with favordynmods
}

// readTrees reads proc_pid_mountinfo(5).
func readTrees(mountinfo string) trees {
	var t trees
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if len(place) < 6 || len(kind) < 3 || !strings.HasPrefix(place[4], "/sys/fs/cgroup") {
			continue
		}
		options := strings.Split(kind[2], ",")
		switch kind[0] {
		case "cgroup":
			t.controllers = append(t.controllers, options...)
		case "cgroup2":
			t.unified, t.favorDynamic = place[4], slices.Contains(options, "favordynmods")
		}
	}
	return t
}

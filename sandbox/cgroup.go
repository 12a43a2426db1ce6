package sandbox

import (
	"bufio"
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

// cgroupName is a container's cgroup below the root of every hierarchy. It
// has one level, so that the runtime's delete leaves nothing behind.
func cgroupName(containerID string) string { return "stepexec-" + containerID }

// cgroup is a container's group in the hierarchy that controls memory.
type cgroup struct {
	dir     string // "" where no such hierarchy is mounted
	unified bool   // cgroup v2
}

// hasOnlyCgroup2 reports whether /sys/fs/cgroup is cgroup v2 itself, not a
// directory of v1 or hybrid hierarchies.
func hasOnlyCgroup2() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// findCgroup reads where the runtime has put the process pid; see cgroups(7).
func findCgroup(pid int) (cgroup, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return cgroup{}, err
	}
	defer file.Close()
	var inMemory, unified string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), ":", 3)
		switch {
		case len(parts) != 3:
			return cgroup{}, fmt.Errorf("read %s: unexpected line %q", file.Name(), lines.Text())
		case parts[1] == "":
			unified = parts[2]
		case hasWord(parts[1], "memory"):
			inMemory = parts[2]
		}
	}
	if err := lines.Err(); err != nil {
		return cgroup{}, err
	}
	// A v1 hierarchy may exist without being mounted here.
	if group, err := cgroupIn(inMemory, false); group.dir != "" || err != nil {
		return group, err
	}
	return cgroupIn(unified, true)
}

// cgroupIn turns a path inside a hierarchy into a directory of the host. It
// finds none where the hierarchy is not mounted.
func cgroupIn(path string, unified bool) (cgroup, error) {
	if path == "" {
		return cgroup{}, nil
	}
	list, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		if unified {
			return m.FSType != "cgroup2", false
		}
		return m.FSType != "cgroup" || !hasWord(m.VFSOptions, "memory"), false
	})
	if err != nil {
		return cgroup{}, fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range list {
		if rest, err := filepath.Rel(m.Root, path); err == nil && filepath.IsLocal(rest) {
			return cgroup{dir: filepath.Join(m.Mountpoint, rest), unified: unified}, nil
		}
	}
	return cgroup{}, nil
}

func hasWord(list, word string) bool {
	return slices.Contains(strings.Split(list, ","), word)
}

// oomKills counts the processes of the group that the kernel killed for want
// of memory. It must be read before the group is removed.
func (c cgroup) oomKills() (int, error) {
	if c.dir == "" {
		return 0, nil
	}
	name := "memory.oom_control"
	if c.unified {
		name = "memory.events"
	}
	data, err := os.ReadFile(filepath.Join(c.dir, name))
	if errors.Is(err, os.ErrNotExist) && c.unified {
		return 0, nil // the memory controller is not enabled here, so nothing counts
	}
	if err != nil {
		return 0, fmt.Errorf("read out-of-memory events: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.Atoi(strings.TrimSpace(count))
		}
	}
	return 0, nil // kernels before 4.13 do not count
}

// pids are the processes of the group, as they are at this moment.
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

package sandbox

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
)

// MemoryLimit says which memory limit was hit.
type MemoryLimit string

// The limits that a step can hit.
const (
	LimitOfStep    MemoryLimit = "step"    // Limits.Memory, or Limits.MemorySwap together with it
	LimitInStep    MemoryLimit = "nested"  // a limit that the step has set on a cgroup of its own
	LimitAboveStep MemoryLimit = "parent"  // the limit of a cgroup above the step's
	LimitOfMachine MemoryLimit = "machine" // no limit: the machine's memory was used up
)

// OutOfMemory says why the kernel killed processes of a step.
type OutOfMemory struct {
	Kills  int64 // processes killed
	Limit  MemoryLimit
	Bytes  int64  // the limit; 0 for LimitInStep and LimitOfMachine
	Cgroup string // path of the group with the limit, for LimitAboveStep
}

// String returns a clause that explains this to a user, or "" when nothing was killed.
func (o OutOfMemory) String() string {
	if o.Kills == 0 {
		return ""
	}
	killed := "the kernel killed a process of the step"
	if o.Kills > 1 {
		killed = fmt.Sprintf("the kernel killed %d processes of the step", o.Kills)
	}
	switch o.Limit {
	case LimitOfStep:
		return killed + ", whose memory is limited to " + units.BytesSize(float64(o.Bytes))
	case LimitInStep:
		return killed + " at a limit of memory that the step has set itself"
	case LimitAboveStep:
		return fmt.Sprintf("%s: the memory of cgroup %s is limited to %s", killed, o.Cgroup, units.BytesSize(float64(o.Bytes)))
	}
	return killed + ": the machine's memory was used up"
}

// outOfMemory finds the limit that was hit, once something was killed. It goes upwards from the
// step's group to the first group that has reached its limit.
func (c cgroup) outOfMemory() (OutOfMemory, error) {
	r := &counters{}
	group, v1 := c.v1["memory"]
	if !v1 {
		group = c.unified
	}
	oom := OutOfMemory{Limit: LimitOfMachine}
	oom.Kills = r.keyed(c.file("memory", "memory.oom_control", "memory.events"))["oom_kill"]
	if limit := r.hitLimit(group, v1); limit > 0 {
		oom.Limit, oom.Bytes = LimitOfStep, limit
	} else if !v1 && r.keyed(filepath.Join(group, "memory.events"))["oom"] > 0 {
		oom.Limit = LimitInStep // v1 does not count below the group itself
	} else {
		r.lookAbove(group, v1, &oom)
	}
	if r.err != nil {
		return oom, fmt.Errorf("find the limit of memory that was hit: %w", r.err)
	}
	return oom, nil
}

// oomKills returns the number of the step's processes that the kernel has killed for lack of
// memory, or 0 where the kernel does not count them.
func (c cgroup) oomKills() int64 {
	r := &counters{}
	return r.keyed(c.file("memory", "memory.oom_control", "memory.events"))["oom_kill"]
}

// lookAbove goes up to the tree's root, which has no limit: that is /sys/fs/cgroup or, in v1, the
// memory controller's directory there.
func (r *counters) lookAbove(group string, v1 bool, oom *OutOfMemory) {
	top := cgroupRoot
	if below, ok := strings.CutPrefix(group, cgroupRoot+"/"); ok && v1 {
		tree, _, _ := strings.Cut(below, "/")
		top = filepath.Join(cgroupRoot, tree)
	}
	for dir := filepath.Dir(group); strings.HasPrefix(dir, top+"/"); dir = filepath.Dir(dir) {
		if limit := r.hitLimit(dir, v1); limit > 0 {
			oom.Limit, oom.Bytes, oom.Cgroup = LimitAboveStep, limit, strings.TrimPrefix(dir, top)
			return
		}
	}
}

// hitLimit returns the limit of a group that has reached it, otherwise 0.
func (r *counters) hitLimit(dir string, v1 bool) int64 {
	if !v1 {
		if r.keyed(filepath.Join(dir, "memory.events.local"))["oom"] == 0 {
			return 0
		}
		return r.number(filepath.Join(dir, "memory.max"))
	}
	for _, prefix := range []string{"memory.", "memory.memsw."} {
		limit := r.number(filepath.Join(dir, prefix+"limit_in_bytes"))
		// The kernel does not always count a failure (6.18 does not), but it always keeps the peak.
		at := r.number(filepath.Join(dir, prefix+"failcnt")) > 0 ||
			r.number(filepath.Join(dir, prefix+"max_usage_in_bytes")) >= limit-chargeBatch
		if at && limit < 1<<62 { // v1 writes "unlimited" as its largest number
			return limit
		}
	}
	return 0
}

// chargeBatch is the number of bytes that the kernel charges to a v1 group at once: the group's
// peak can stay below the limit by that much.
const chargeBatch = 256 << 10

package sandbox

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
)

// MemoryLimit says whose limit of memory was hit.
type MemoryLimit string

// The limits that a step can hit.
const (
	LimitOfStep    MemoryLimit = "step"    // Limits.Memory, or with it Limits.MemorySwap
	LimitInStep    MemoryLimit = "nested"  // one that the step itself has set, on a cgroup of its own making
	LimitAboveStep MemoryLimit = "parent"  // that of a cgroup above the step's
	LimitOfMachine MemoryLimit = "machine" // none: the machine's memory was used up
)

// OutOfMemory says why the kernel killed processes of a step.
type OutOfMemory struct {
	Kills  int64 // processes killed
	Limit  MemoryLimit
	Bytes  int64  // the limit; 0 for LimitInStep and LimitOfMachine
	Cgroup string // the group that has the limit, for LimitAboveStep
}

// String is a clause that tells it to a user; "" when nothing was killed.
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

// outOfMemory finds the limit that was hit, once something was killed. It
// goes from the step's group upwards to the first that has a limit and has
// been at it.
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

// oomKills counts the processes of the step that the kernel has killed for want of memory; 0 also
// where it does not tell.
func (c cgroup) oomKills() int64 {
	r := &counters{}
	return r.keyed(c.file("memory", "memory.oom_control", "memory.events"))["oom_kill"]
}

// lookAbove goes up to the tree's root, which has no limit: that is
// /sys/fs/cgroup, or, in v1, the memory controller's directory there.
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

// hitLimit is the limit of a group that has been at it, else 0.
func (r *counters) hitLimit(dir string, v1 bool) int64 {
	if !v1 {
		if r.keyed(filepath.Join(dir, "memory.events.local"))["oom"] == 0 {
			return 0
		}
		return r.number(filepath.Join(dir, "memory.max"))
	}
	for _, prefix := range []string{"memory.", "memory.memsw."} {
		limit := r.number(filepath.Join(dir, prefix+"limit_in_bytes"))
		// The kernel does not always count a failure (6.18 does not), but it does keep the peak.
		at := r.number(filepath.Join(dir, prefix+"failcnt")) > 0 ||
			r.number(filepath.Join(dir, prefix+"max_usage_in_bytes")) >= limit-chargeBatch
		if at && limit < 1<<62 { // v1 has no word for unlimited, only the largest number
			return limit
		}
	}
	return 0
}

// chargeBatch is what the kernel charges a v1 group at once, and so by how much its peak can stay below the limit.
const chargeBatch = 256 << 10

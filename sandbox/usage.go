package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what a step has used up to the end of its main process. It includes the runtime, which
// starts in the step's cgroup: about 20 ms of CPU time, 3 MiB of memory and 5 threads. 0 also means
// that the kernel does not report a value.
type Usage struct {
	User, System time.Duration // CPU time of all processes
	Throttled    time.Duration // time for which the CPU limit kept threads waiting, summed over CPUs
	PeakMemory   int64         // bytes, including the page cache; without a memory controller, of the largest process alone
	BytesRead    int64         // from disks
	BytesWritten int64         // to disks, including data that the kernel has yet to write
	PeakPids     int64         // processes and threads at the same time; needs Linux 6.6
	OOMKills     int64         // processes that the kernel killed for lack of memory
}

// usageOf returns what the kernel reports to the parent of a process: the usage of the process and
// of all descendants that were waited for (getrusage(2)).
func usageOf(state *os.ProcessState) Usage {
	usage := Usage{User: state.UserTime(), System: state.SystemTime()}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		const block = 512 // bytes; fixed, whatever the disk's block size
		usage.PeakMemory = int64(r.Maxrss) << 10
		usage.BytesRead, usage.BytesWritten = int64(r.Inblock)*block, int64(r.Oublock)*block
	}
	return usage
}

// addUsage replaces the main process's figures with the group's own. It must be called before the
// group is removed.
//
// Reads and writes are the larger of both: v1 groups do not count data that is written back later,
// and the process does not count children that nobody waited for.
func (c cgroup) addUsage(u *Usage) error {
	r := &counters{}
	if cpu := r.keyed(in(c.unified, "cpu.stat")); cpu != nil { // on a hybrid machine too, and more precise than v1's
		u.User, u.System = microseconds(cpu["user_usec"]), microseconds(cpu["system_usec"])
	} else if cpu := r.keyed(in(c.v1["cpuacct"], "cpuacct.stat")); cpu != nil {
		u.User, u.System = ticks(cpu["user"]), ticks(cpu["system"])
	}
	throttling := r.keyed(c.file("cpu", "cpu.stat", "cpu.stat"))
	u.Throttled = time.Duration(throttling["throttled_time"]) + microseconds(throttling["throttled_usec"])
	if peak := r.number(c.file("memory", "memory.max_usage_in_bytes", "memory.peak")); peak > 0 {
		u.PeakMemory = peak
	}
	u.OOMKills = r.keyed(c.file("memory", "memory.oom_control", "memory.events"))["oom_kill"]
	read, written := r.transferred(c.file("blkio", "blkio.throttle.io_service_bytes_recursive", "io.stat"))
	u.BytesRead, u.BytesWritten = max(u.BytesRead, read), max(u.BytesWritten, written)
	u.PeakPids = r.number(c.file("pids", "pids.peak", "pids.peak"))
	if r.err != nil {
		return fmt.Errorf("read the step's usage: %w", r.err)
	}
	return nil
}

// file returns the path of a controller's file, whose name differs between v1 and v2.
func (c cgroup) file(controller, v1, v2 string) string {
	if dir, ok := c.v1[controller]; ok {
		return in(dir, v1)
	}
	return in(c.unified, v2)
}

func in(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// ticks converts units of USER_HZ, which is 100 in the kernel's interfaces.
func ticks(n int64) time.Duration { return time.Duration(n) * (time.Second / 100) }

// counters reads the files of a cgroup and keeps the first error. Files that do not exist (an old
// kernel, a controller that is not enabled, a group that systemd has already removed) read as
// empty.
type counters struct{ err error }

func (r *counters) text(path string) string {
	if path == "" || r.err != nil {
		return ""
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
		return ""
	}
	r.err = err
	return string(data)
}

func (r *counters) parse(path, digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", path, err)
	}
	return n
}

// number reads a file with one number; "max", which means no limit, reads as 0.
func (r *counters) number(path string) int64 {
	text := strings.TrimSpace(r.text(path))
	if text == "" || text == "max" {
		return 0
	}
	return r.parse(path, text)
}

// keyed reads a file of lines "key number".
func (r *counters) keyed(path string) map[string]int64 {
	var all map[string]int64
	for line := range strings.Lines(r.text(path)) {
		key, digits, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if all == nil {
			all = map[string]int64{}
		}
		all[key] = r.parse(path, digits)
	}
	return all
}

// transferred adds up the lines of all disks: "8:0 Read 4096" in v1, "8:0 rbytes=4096 wbytes=0
// rios=1 wios=0" in v2.
func (r *counters) transferred(path string) (read, written int64) {
	for line := range strings.Lines(r.text(path)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[1] == "Read" {
			read += r.parse(path, fields[2])
		}
		if len(fields) == 3 && fields[1] == "Write" {
			written += r.parse(path, fields[2])
		}
		for _, field := range fields {
			if digits, ok := strings.CutPrefix(field, "rbytes="); ok {
				read += r.parse(path, digits)
			}
			if digits, ok := strings.CutPrefix(field, "wbytes="); ok {
				written += r.parse(path, digits)
			}
		}
	}
	return read, written
}

package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// DefaultPids is the limit of processes and threads of a step that sets none. It is half of the
	// kernel's default limit for the whole machine (kernel.pid_max, 32768), so that no step's fork
	// bomb keeps the host from starting processes, and far above what builds need.
	DefaultPids = 16384

	minMemory = 6 << 20 // bytes; the same as docker's: see tooLittleMemory
	minPids   = 10      // runc needs 5 to 7 for its own threads
	maxPids   = 4 << 20 // PID_MAX_LIMIT of 64-bit kernels

	cpuPeriod            = 100_000 // microseconds; the kernel's default
	minQuota             = 1000    // microseconds; the kernel's, like the limits below
	maxQuota             = 1<<44 - 1
	minPeriod, maxPeriod = 1000, 1_000_000
	minShares, maxShares = 2, 262144
	minWeight, maxWeight = 10, 1000 // the OCI runtime spec's

	defaultShm = 64 << 20 // bytes; docker's
)

// LimitError names the setting of a step's Limits, as in pipeline files, that this machine or
// kernel cannot apply.
type LimitError struct {
	Setting string
	Err     error
}

func (e *LimitError) Error() string { return e.Setting + ": " + e.Err.Error() }

func (e *LimitError) Unwrap() error { return e.Err }

// limit puts a step's limits into its spec. It joins all errors, which are *LimitError.
func (h *Host) limit(spec *specs.Spec, step *Step) error {
	l := &step.Limits
	path, pathErr := h.cgroupsPath(step)
	cpu, cpuErr := h.cpuLimits(l, step.Advanced.CgroupParent)
	memory, memoryErr := h.memoryLimits(l)
	pids, pidsErr := h.pidsLimit(l.Pids)
	io, ioErr := h.ioWeight(l.IOWeight)
	rlimits, rlimitsErr := h.rlimits(l.Ulimits)
	var shmErr error
	if l.ShmSize < 0 {
		shmErr = &LimitError{"shm_size", errors.New("must not be negative")}
	}
	spec.Linux.CgroupsPath = path
	spec.Linux.Resources.CPU, spec.Linux.Resources.Memory = cpu, memory
	spec.Linux.Resources.Pids, spec.Linux.Resources.BlockIO = pids, io
	spec.Process.Rlimits = rlimits
	if h.rootless {
		h.keepDelegated(spec.Linux.Resources, l)
	}
	return errors.Join(pathErr, cpuErr, memoryErr, pidsErr, ioErr, rlimitsErr, shmErr)
}

// controller returns an error when this machine lacks the controller for a setting.
func (h *Host) controller(setting, name string) error {
	if _, ok := controlledBy(h.cgroups, name); ok {
		return nil
	}
	return &LimitError{setting, fmt.Errorf("this machine has no %s controller below %s (see /proc/cgroups; in a container, start it with its host's cgroups)", name, cgroupRoot)}
}

// between checks a setting against the kernel's limits.
func between(setting string, value, least, most int64) error {
	if value < least || value > most {
		return &LimitError{setting, fmt.Errorf("%d is not between %d and %d", value, least, most)}
	}
	return nil
}

func (h *Host) cpuLimits(l *Limits, parent string) (*specs.LinuxCPU, error) {
	cpu := &specs.LinuxCPU{Cpus: l.CpusetCPUs, Mems: l.CpusetMems}
	quotaErr := h.cpuQuota(l, cpu)
	var sharesErr error
	if l.CPUShares != 0 {
		shares := uint64(l.CPUShares)
		cpu.Shares = &shares
		sharesErr = errors.Join(between("cpu_shares", l.CPUShares, minShares, maxShares), h.controller("cpu_shares", "cpu"))
	}
	err := errors.Join(quotaErr, sharesErr,
		h.checkCpuset("cpuset_cpus", l.CpusetCPUs, parent), h.checkCpuset("cpuset_mems", l.CpusetMems, parent))
	return cpu, err
}

func (h *Host) cpuQuota(l *Limits, cpu *specs.LinuxCPU) error {
	setting, quota, period := "cpu_quota", l.CPUQuota, l.CPUPeriod
	switch {
	case l.CPUs != 0 && (quota != 0 || period != 0):
		return &LimitError{"cpus", errors.New("cannot go with cpu_quota and cpu_period, which say the same: leave out one or the other")}
	case l.CPUs != 0:
		if least, most := float64(minQuota)/cpuPeriod, float64(maxQuota)/cpuPeriod; !(l.CPUs >= least && l.CPUs <= most) { // so that NaN fails
			return &LimitError{"cpus", fmt.Errorf("%v is not between %v and %.0f", l.CPUs, least, most)}
		}
		setting, quota, period = "cpus", int64(math.Round(l.CPUs*cpuPeriod)), cpuPeriod
	case quota == 0 && period == 0:
		return nil
	case period == 0:
		return &LimitError{"cpu_quota", fmt.Errorf("needs cpu_period, the time that it is a part of (%d microseconds is usual)", cpuPeriod)}
	case quota == 0:
		return &LimitError{"cpu_period", errors.New("limits nothing without cpu_quota")}
	}
	unsigned := uint64(period)
	cpu.Quota, cpu.Period = &quota, &unsigned
	return errors.Join(between(setting, quota, minQuota, maxQuota), between("cpu_period", period, minPeriod, maxPeriod), h.controller(setting, "cpu"))
}

func (h *Host) memoryLimits(l *Limits) (*specs.LinuxMemory, error) {
	limit, swap := l.Memory, l.MemorySwap
	switch {
	case limit == 0 && swap == 0:
		return nil, nil
	case limit == 0:
		return nil, &LimitError{"memory_swap", errors.New("needs memory, which it includes")}
	case limit < minMemory:
		return nil, &LimitError{"memory", fmt.Errorf("%s is less than the %s that a container needs to start", units.BytesSize(float64(limit)), units.BytesSize(minMemory))}
	case swap != 0 && swap != -1 && swap < limit:
		return nil, &LimitError{"memory_swap", fmt.Errorf("%s is less than memory, %s, which it includes", units.BytesSize(float64(swap)), units.BytesSize(float64(limit)))}
	}
	if err := h.controller("memory", "memory"); err != nil {
		return nil, err
	}
	memory := &specs.LinuxMemory{Limit: &limit}
	counted := h.countsSwap()
	switch {
	case swap == 0 && counted && limit <= math.MaxInt64/2:
		swap = 2 * limit
		memory.Swap = &swap
	case swap > 0 && !counted:
		return nil, &LimitError{"memory_swap", errors.New("this machine does not count swap (start its kernel with swapaccount=1)")}
	case swap != 0 && counted:
		memory.Swap = &swap
	}
	return memory, nil
}

// tooLittleMemory recognises a runtime's message that the limit leaves no room for its own start.
// The need varies: runc takes 3 MiB, but 11 where its program lies on a tmpfs, whose pages cannot
// be dropped.
func tooLittleMemory(message string) bool {
	return strings.Contains(message, "container init was OOM-killed") || strings.Contains(message, "unable to set memory limit")
}

// countsSwap reports whether the kernel can limit swap. The root of v2 has no such file, so
// countsSwap looks in the groups below, one of which exists as soon as anybody uses the memory
// controller.
func (h *Host) countsSwap() bool {
	tree, ok := controlledBy(h.cgroups, "memory")
	if !ok {
		return false
	}
	pattern := "memory.memsw.limit_in_bytes"
	if tree.unified {
		pattern = "*/memory.swap.max"
	}
	found, err := filepath.Glob(filepath.Join(tree.mountpoint, pattern))
	return err == nil && len(found) > 0
}

func (h *Host) pidsLimit(limit int64) (*specs.LinuxPids, error) {
	switch limit {
	case -1:
		return nil, nil
	case 0:
		if h.controller("pids", "pids") != nil {
			return nil, nil // not requested
		}
		limit = DefaultPids
	}
	return &specs.LinuxPids{Limit: &limit}, errors.Join(between("pids", limit, minPids, maxPids), h.controller("pids", "pids"))
}

// ioWeight needs the bfq scheduler or, on v2, the io.cost controller; some kernels are built
// without. A runtime would fail to open the missing file.
func (h *Host) ioWeight(weight int64) (*specs.LinuxBlockIO, error) {
	if weight == 0 {
		return nil, nil
	}
	if err := between("io_weight", weight, minWeight, maxWeight); err != nil {
		return nil, err
	}
	if !h.weighsIO() {
		return nil, &LimitError{"io_weight", errors.New("this machine's kernel cannot weigh disk access: it has neither the bfq scheduler (modprobe bfq) nor, with cgroup v2, io.cost")}
	}
	short := uint16(weight)
	return &specs.LinuxBlockIO{Weight: &short}, nil
}

func (h *Host) weighsIO() bool {
	if v1, ok := controlledBy(h.cgroups, "blkio"); ok {
		return exists(filepath.Join(v1.mountpoint, "blkio.bfq.io_service_bytes"))
	}
	v2, ok := controlledBy(h.cgroups, "io")
	if !ok {
		return false
	}
	if exists(filepath.Join(v2.mountpoint, "io.cost.qos")) {
		return true
	}
	schedulers, err := filepath.Glob("/sys/block/*/queue/scheduler")
	return err == nil && slices.ContainsFunc(schedulers, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "bfq")
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// shmOption returns the mount option for the size of /dev/shm.
func shmOption(size int64) string {
	if size == 0 {
		size = defaultShm
	}
	return fmt.Sprintf("size=%d", size)
}

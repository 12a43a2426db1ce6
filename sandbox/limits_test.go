package sandbox_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// onCgroup2 says whether the controllers are those of v2.
func onCgroup2(t *testing.T) bool {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs("/sys/fs/cgroup", &st))
	return st.Type == unix.CGROUP2_SUPER_MAGIC
}

// hasController says whether the machine can limit what a controller is about.
func hasController(t *testing.T, name string) bool {
	t.Helper()
	if !onCgroup2(t) {
		_, err := os.Stat("/sys/fs/cgroup/" + name)
		return err == nil
	}
	if name == "blkio" {
		name = "io"
	}
	list, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	must(t, err)
	return slices.Contains(strings.Fields(string(list)), name)
}

func needController(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if !hasController(t, name) {
			t.Skipf("this machine has no %s controller", name)
		}
	}
}

func TestLimitsAreWhatTheKernelEnforces(t *testing.T) {
	tests := []struct {
		name   string
		limits sandbox.Limits
		v1, v2 string // file below /sys/fs/cgroup and what is in it
	}{
		{"cpus", sandbox.Limits{CPUs: 1.5}, "cpu/cpu.cfs_quota_us 150000", "cpu.max 150000 100000"},
		{"least cpus", sandbox.Limits{CPUs: 0.01}, "cpu/cpu.cfs_quota_us 1000", "cpu.max 1000 100000"},
		{"quota and period", sandbox.Limits{CPUQuota: 5000, CPUPeriod: 20000}, "cpu/cpu.cfs_period_us 20000", "cpu.max 5000 20000"},
		{"shares", sandbox.Limits{CPUShares: 512}, "cpu/cpu.shares 512", "cpu.weight 20"},
		{"cpuset", sandbox.Limits{CpusetCPUs: "0", CpusetMems: "0"}, "cpuset/cpuset.cpus 0", "cpuset.cpus 0"},
		{"memory", sandbox.Limits{Memory: 64 << 20}, "memory/memory.limit_in_bytes 67108864", "memory.max 67108864"},
		{"swap is as much again", sandbox.Limits{Memory: 64 << 20}, "memory/memory.memsw.limit_in_bytes 134217728", "memory.swap.max 67108864"},
		{"no swap", sandbox.Limits{Memory: 64 << 20, MemorySwap: 64 << 20}, "memory/memory.memsw.limit_in_bytes 67108864", "memory.swap.max 0"},
		{"swap without limit", sandbox.Limits{Memory: 64 << 20, MemorySwap: -1}, "memory/memory.memsw.limit_in_bytes 9223372036854771712", "memory.swap.max max"},
		{"pids", sandbox.Limits{Pids: 50}, "pids/pids.max 50", "pids.max 50"},
		{"least pids", sandbox.Limits{Pids: 10}, "pids/pids.max 10", "pids.max 10"},
		{"pids by default", sandbox.Limits{}, "pids/pids.max 16384", "pids.max 16384"},
		{"pids without limit", sandbox.Limits{Pids: -1}, "pids/pids.max max", "pids.max max"},
		{"weight of disk access", sandbox.Limits{IOWeight: 300}, "blkio/blkio.bfq.weight 300", "io.weight default 2930"},
	}
	host := openHost(t)
	step := script(t, "")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			controller, _, _ := strings.Cut(test.v1, "/")
			needController(t, controller)
			file, want, found := strings.Cut(test.v1, " ")
			if onCgroup2(t) {
				file, want, found = strings.Cut(test.v2, " ")
			}
			if !found {
				t.Skip("not on this kind of cgroup")
			}
			step.Script, step.Limits = []byte("cat /sys/fs/cgroup/"+file), test.limits
			stdout, stderr, exit := output(t, host, step)
			if exit.Code != 0 || strings.TrimSpace(stdout) != want {
				t.Errorf("%s is %q, want %q (code %d, %s)", file, stdout, want, exit.Code, stderr)
			}
		})
	}
}

func TestUlimitsAndSharedMemoryAreSet(t *testing.T) {
	tests := []struct {
		name, script string
		limits       sandbox.Limits
		want         string
	}{
		{"files", "ulimit -Sn; ulimit -Hn", sandbox.Limits{Ulimits: []sandbox.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}}}, "100\n200\n"},
		{"soft alone", "ulimit -Sv; ulimit -Hv", sandbox.Limits{Ulimits: []sandbox.Ulimit{{Name: "as", Soft: 8 << 30, Hard: -1}}}, "8388608\nunlimited\n"},
		{"two", "ulimit -Hn; ulimit -Hc", sandbox.Limits{Ulimits: []sandbox.Ulimit{{Name: "nofile", Soft: 50, Hard: 50}, {Name: "core", Soft: 0, Hard: 0}}}, "50\n0\n"},
		{"shared memory by default", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", sandbox.Limits{}, "65536\n"},
		{"shared memory", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", sandbox.Limits{ShmSize: 3 << 20}, "3072\n"},
	}
	host := openHost(t)
	step := script(t, "")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step.Script, step.Limits = []byte(test.script), test.limits
			stdout, stderr, exit := output(t, host, step)
			if exit.Code != 0 || stdout != test.want {
				t.Errorf("got %q, want %q (code %d, %s)", stdout, test.want, exit.Code, stderr)
			}
		})
	}
}

func TestLimitsThatCannotBeAreRefusedByName(t *testing.T) {
	ulimit := func(name string, soft, hard int64) sandbox.Limits {
		return sandbox.Limits{Ulimits: []sandbox.Ulimit{{Name: name, Soft: soft, Hard: hard}}}
	}
	tests := []struct {
		limits sandbox.Limits
		want   string
	}{
		{sandbox.Limits{CPUs: 0.001}, "cpus: 0.001 is not between 0.01 and "},
		{sandbox.Limits{CPUs: -1}, "cpus: -1 is not between"},
		{sandbox.Limits{CPUs: math.NaN()}, "cpus: NaN is not between"},
		{sandbox.Limits{CPUs: math.Inf(1)}, "cpus: +Inf is not between"},
		{sandbox.Limits{CPUs: 1, CPUQuota: 1000, CPUPeriod: 1000}, "cpus: cannot go with cpu_quota"},
		{sandbox.Limits{CPUQuota: 50000}, "cpu_quota: needs cpu_period"},
		{sandbox.Limits{CPUPeriod: 50000}, "cpu_period: limits nothing without cpu_quota"},
		{sandbox.Limits{CPUQuota: 999, CPUPeriod: 100000}, "cpu_quota: 999 is not between 1000 and"},
		{sandbox.Limits{CPUQuota: -5, CPUPeriod: 100000}, "cpu_quota: -5 is not between 1000 and"},
		{sandbox.Limits{CPUQuota: 1000, CPUPeriod: 1000001}, "cpu_period: 1000001 is not between 1000 and 1000000"},
		{sandbox.Limits{CPUShares: 1}, "cpu_shares: 1 is not between 2 and 262144"},
		{sandbox.Limits{CPUShares: -1}, "cpu_shares: -1 is not between"},
		{sandbox.Limits{CpusetCPUs: "0-4000"}, "cpuset_cpus: "},
		{sandbox.Limits{CpusetCPUs: "3000"}, "cpuset_cpus: 3000 is not among those that a step can have here (0"},
		{sandbox.Limits{CpusetCPUs: "0,x"}, `cpuset_cpus: "0,x" is not a list of numbers and ranges, such as 0-3,8`},
		{sandbox.Limits{CpusetCPUs: "1-0"}, `cpuset_cpus: "1-0" is not a list`},
		{sandbox.Limits{CpusetCPUs: "0-99999999999"}, "cpuset_cpus: "},
		{sandbox.Limits{CpusetMems: "77"}, "cpuset_mems: 77 is not among those"},
		{sandbox.Limits{Memory: 1 << 20}, "memory: 1MiB is less than the 6MiB that a container needs to start"},
		{sandbox.Limits{Memory: -1}, "memory: -1B is less than"},
		{sandbox.Limits{MemorySwap: 1 << 30}, "memory_swap: needs memory"},
		{sandbox.Limits{Memory: 64 << 20, MemorySwap: 32 << 20}, "memory_swap: 32MiB is less than memory, 64MiB, which it includes"},
		{sandbox.Limits{Memory: 64 << 20, MemorySwap: -2}, "memory_swap: -2B is less than memory"},
		{sandbox.Limits{Pids: 3}, "pids: 3 is not between 10 and 4194304"},
		{sandbox.Limits{Pids: -2}, "pids: -2 is not between"},
		{sandbox.Limits{Pids: 1 << 40}, "pids: 1099511627776 is not between"},
		{sandbox.Limits{IOWeight: 5}, "io_weight: 5 is not between 10 and 1000"},
		{sandbox.Limits{IOWeight: 65546}, "io_weight: 65546 is not between 10 and 1000"},
		{sandbox.Limits{ShmSize: -1}, "shm_size: must not be negative"},
		{ulimit("files", 1, 1), "ulimits: files: there is no such limit (there are as, core, cpu,"},
		{ulimit("nofile", 2, 1), "ulimits: nofile: its soft limit, 2, is above its hard one, 1"},
		{ulimit("nofile", -1, 1), "ulimits: nofile: its soft limit, unlimited, is above its hard one, 1"},
		{ulimit("nofile", -2, 1), "ulimits: nofile: must be a number, or -1 for unlimited"},
		{ulimit("nofile", -1, -1), "ulimits: nofile: unlimited is above "},
		{sandbox.Limits{Ulimits: []sandbox.Ulimit{{Name: "core"}, {Name: "core"}}}, "ulimits: core: is set twice"},
		{sandbox.Limits{Memory: 1 << 20, ShmSize: -1}, "memory: 1MiB is less than the 6MiB that a container needs to start\nshm_size: must not be negative"},
	}
	host := openHost(t)
	step := script(t, "true")
	for _, test := range tests {
		t.Run(fmt.Sprint(test.limits), func(t *testing.T) {
			step.Limits = test.limits
			_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
			if strings.Contains(test.want, "among those") {
				needController(t, "cpuset")
			}
			var limit *sandbox.LimitError
			if !errors.As(err, &limit) || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestLeastMemoryStartsOrIsRefusedByName(t *testing.T) {
	needController(t, "memory")
	step := script(t, "true")
	step.Limits.Memory = 6 << 20
	_, err := runStep(t, openHost(t), step, func(*sandbox.Sandbox) {})
	var limit *sandbox.LimitError
	if err != nil && !errors.As(err, &limit) {
		t.Errorf("got error %v, want none or one that names memory", err)
	}
}

func TestLimitsWithoutAControllerAreRefusedByName(t *testing.T) {
	host := openHost(t)
	for _, test := range []struct {
		controller, setting string
		limits              sandbox.Limits
	}{
		{"cpu", "cpus", sandbox.Limits{CPUs: 1}},
		{"cpu", "cpu_quota", sandbox.Limits{CPUQuota: 1000, CPUPeriod: 1000}},
		{"cpu", "cpu_shares", sandbox.Limits{CPUShares: 10}},
		{"cpuset", "cpuset_cpus", sandbox.Limits{CpusetCPUs: "0"}},
		{"cpuset", "cpuset_mems", sandbox.Limits{CpusetMems: "0"}},
		{"memory", "memory", sandbox.Limits{Memory: 64 << 20}},
		{"pids", "pids", sandbox.Limits{Pids: 50}},
		{"blkio", "io_weight", sandbox.Limits{IOWeight: 50}},
	} {
		t.Run(test.setting, func(t *testing.T) {
			if hasController(t, test.controller) {
				t.Skip("this machine has it; unshare -m -C and a fresh cgroup2 mount make one without")
			}
			step := script(t, "true")
			step.Limits = test.limits
			_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
			var limit *sandbox.LimitError
			if !errors.As(err, &limit) || limit.Setting != test.setting {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestForkBombStaysWithinItsLimit(t *testing.T) {
	needController(t, "pids")
	events := "/sys/fs/cgroup/pids/pids.events"
	if onCgroup2(t) {
		events = "/sys/fs/cgroup/pids.events"
	}
	// Every process forks on until it cannot. The first one starts none itself
	// and looks on until the kernel has refused one.
	step := script(t, "bomb() { bomb & bomb; }; bomb 2>/dev/null &\n"+
		"refused=0; until [ $refused -gt 0 ]; do read word refused < "+events+"; done; echo lives")
	step.Limits.Pids = 50
	stdout, _, exit := output(t, openHost(t), step)
	if exit.Code != 0 || stdout != "lives\n" {
		t.Errorf("output %q, %+v", stdout, exit)
	}
	if peak := exit.Usage.PeakPids; peak != 50 && peak != 0 {
		t.Errorf("there were %d processes at once, want 50", peak)
	}
}

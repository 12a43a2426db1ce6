package sandbox_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox"
)

// burn is a shell function that uses hundredths of a second of CPU time, as the kernel
// counts it: so many on a fast machine, a slow and a busy one.
const burn = `burn() { ticks=$1; until read -r stat < /proc/self/stat; set -- $stat; [ $((${14} + ${15})) -ge $ticks ]; do :; done; }
`

func TestUsageOfAStepIsCounted(t *testing.T) {
	shared := t.TempDir() // a disk, unlike a container's /dev/shm
	step := script(t, burn+`burn 10
dd if=/dev/zero of=/dev/shm/memory bs=1M count=40 2>/dev/null
dd if=/dev/zero of=/shared/file bs=1M count=8 conv=fsync 2>/dev/null
for i in 1 2 3 4 5 6; do sleep 1000 & pids="$pids $!"; done; kill $pids; wait`)
	step.Mounts = []sandbox.Mount{{Type: "bind", Source: shared, Destination: "/shared", Options: []string{"rbind", "rw"}}}
	_, stderr, exit := output(t, openHost(t), step)
	u := exit.Usage
	t.Logf("%+v", u)
	if exit.Code != 0 || exit.OOM || u.OOMKills != 0 {
		t.Fatalf("%+v, %s", exit, stderr)
	}
	if cpu := u.User + u.System; cpu < 100*time.Millisecond || cpu > time.Minute {
		t.Errorf("CPU time %v", cpu)
	}
	if hasController(t, "memory") && u.PeakMemory < 40<<20 || u.PeakMemory > 200<<20 {
		t.Errorf("%d bytes of memory, want more than 40 MiB", u.PeakMemory)
	}
	if u.BytesWritten < 8<<20 && onDisk(t, shared) {
		t.Errorf("%d bytes written, want 8 MiB and more", u.BytesWritten)
	}
	if u.PeakPids != 0 && (u.PeakPids < 7 || u.PeakPids > 40) {
		t.Errorf("%d processes at once, want 7 and some", u.PeakPids)
	}
	if u.Throttled != 0 {
		t.Errorf("throttled for %v without a limit", u.Throttled)
	}
}

// onDisk is whether what is written to a directory goes to a disk.
func onDisk(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[1] == "/" || strings.HasPrefix(dir, fields[1]+"/") {
			if fields[2] == "tmpfs" {
				return false
			}
		}
	}
	return true
}

func TestUsageCountsProcessesThatNobodyWaitedFor(t *testing.T) {
	step := script(t, burn+`(burn 20; : > /tmp/done) &
while [ ! -e /tmp/done ]; do sleep 0.02; done`)
	_, _, exit := output(t, openHost(t), step)
	if cpu := exit.Usage.User + exit.Usage.System; cpu < 200*time.Millisecond {
		t.Errorf("CPU time %v", cpu)
	}
}

func TestThrottledTimeIsCounted(t *testing.T) {
	needController(t, "cpu")
	// The quota is shorter than the turn that a busy kernel gives a process, so that the
	// step meets it however little of the CPU it gets.
	step := script(t, burn+"burn 20")
	step.Limits.CPUQuota, step.Limits.CPUPeriod = 1000, 10000
	_, _, exit := output(t, openHost(t), step)
	if exit.Usage.Throttled < 50*time.Millisecond {
		t.Errorf("throttled for %v", exit.Usage.Throttled)
	}
}

func TestOutOfMemorySaysWhichLimit(t *testing.T) {
	needController(t, "memory")
	parent := "/stepexec-test-oom"
	tests := []struct {
		name, script string
		change       func(*testing.T, *sandbox.Step)
		code         int
		want         sandbox.OutOfMemory
		text         string
	}{
		{"step's own", "tail /dev/zero", func(_ *testing.T, s *sandbox.Step) {}, 137,
			sandbox.OutOfMemory{Kills: 1, Limit: sandbox.LimitOfStep, Bytes: 32 << 20},
			"the kernel killed a process of the step, whose memory is limited to 32MiB"},
		{"a child's", "tail /dev/zero || echo went on", nil, 0,
			sandbox.OutOfMemory{Kills: 1, Limit: sandbox.LimitOfStep, Bytes: 32 << 20},
			"the kernel killed a process of the step, whose memory is limited to 32MiB"},
		{"twice", "tail /dev/zero || tail /dev/zero || exit 1", nil, 1,
			sandbox.OutOfMemory{Kills: 2, Limit: sandbox.LimitOfStep, Bytes: 32 << 20},
			"the kernel killed 2 processes of the step, whose memory is limited to 32MiB"},
		{"that of the group above", "tail /dev/zero", func(t *testing.T, s *sandbox.Step) {
			s.Limits.Memory = 0
			s.Advanced.CgroupParent = parent
			limitGroup(t, parent, 24<<20)
		}, 137,
			sandbox.OutOfMemory{Kills: 1, Limit: sandbox.LimitAboveStep, Bytes: 24 << 20, Cgroup: parent},
			"the memory of cgroup " + parent + " is limited to 24MiB"},
		{"that of the group above, below the step's own", "tail /dev/zero", func(t *testing.T, s *sandbox.Step) {
			s.Limits.Memory = 512 << 20
			s.Advanced.CgroupParent = parent
			limitGroup(t, parent, 24<<20)
		}, 137,
			sandbox.OutOfMemory{Kills: 1, Limit: sandbox.LimitAboveStep, Bytes: 24 << 20, Cgroup: parent},
			"the memory of cgroup " + parent + " is limited to 24MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host := openHost(t)
			step := script(t, test.script)
			step.Shell = []string{"/bin/sh"}
			step.Limits.Memory = 32 << 20
			if test.change != nil {
				test.change(t, step)
			}
			_, _, exit := output(t, host, step)
			got := exit.OutOfMemory
			if !exit.OOM || exit.Code != test.code || got != test.want || exit.Usage.OOMKills != got.Kills {
				t.Errorf("got %+v, want code %d and %+v", exit, test.code, test.want)
			}
			if !strings.HasSuffix(got.String(), test.text) {
				t.Errorf("it says %q, want %q", got, test.text)
			}
		})
	}
}

// limitGroup makes a cgroup with a limit of memory, as an administrator would.
func limitGroup(t *testing.T, path string, limit int) {
	t.Helper()
	dir, file := filepath.Join("/sys/fs/cgroup/memory", path), "memory.limit_in_bytes"
	if onCgroup2(t) {
		dir, file = filepath.Join("/sys/fs/cgroup", path), "memory.max"
	}
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	must(t, os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0))
}

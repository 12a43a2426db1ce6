package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSystemdsCgroupIsAScopeInASlice(t *testing.T) {
	for _, test := range []struct{ parent, want string }{
		{"", "system.slice:stepexec:run-1"},
		{"ci.slice", "ci.slice:stepexec:run-1"},
		{"ci-builds.slice", "ci-builds.slice:stepexec:run-1"},
		{"/ci", ""}, {"ci", ""}, {"/ci.slice", ""}, {"a/ci.slice", ""}, {"a:b.slice", ""}, {"..slice\n.slice", ""},
	} {
		got, err := cgroupsPath(test.parent, "run-1", true)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("in %q it is %q, %v; want %q", test.parent, got, err, test.want)
		}
	}
}

func TestCgroupOfTheTreesRootIsNotTheContainers(t *testing.T) {
	trees := []hierarchy{
		{mountpoint: "/m/memory", root: "/", controllers: []string{"rw", "memory"}},
		{mountpoint: "/m/cpu", root: "/docker/abc", controllers: []string{"cpu", "cpuacct"}},
		{mountpoint: "/m/unified", root: "/", unified: true},
	}
	for _, test := range []struct{ controllers, path, want string }{
		{"memory", "/stepexec-1", "/m/memory/stepexec-1"},
		{"memory", "/", ""},
		{"cpu,cpuacct", "/docker/abc/ci/stepexec-1", "/m/cpu/ci/stepexec-1"},
		{"cpu,cpuacct", "/docker/abc", ""},
		{"cpu,cpuacct", "/elsewhere", ""},
		{"", "/stepexec-1", "/m/unified/stepexec-1"},
		{"", "/", ""},
		{"", "/../outside", ""},
		{"pids", "/stepexec-1", ""},
	} {
		if got := directory(test.controllers, test.path, trees); got != test.want {
			t.Errorf("%s:%s is in %q, want %q", test.controllers, test.path, got, test.want)
		}
	}
}

func TestCountersAreReadInBothVersions(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r := &counters{}
	read, written := r.transferred(write("v1", "8:0 Read 4096\n8:0 Write 1\n8:0 Sync 7\n8:16 Read 4\nTotal 4101\n"))
	if read != 4100 || written != 1 {
		t.Errorf("v1: read %d, written %d", read, written)
	}
	read, written = r.transferred(write("v2", "8:0 rbytes=5 wbytes=6 rios=1 wios=1 dbytes=0 dios=0\n8:16 \n7:0 rbytes=10 wbytes=0\n"))
	if read != 15 || written != 6 {
		t.Errorf("v2: read %d, written %d", read, written)
	}
	if n := r.number(write("peak", "42\n")) + r.number(write("max", "max\n")) + r.number(filepath.Join(dir, "missing")); n != 42 || r.err != nil {
		t.Errorf("numbers add up to %d, %v", n, r.err)
	}
	if r.number(write("bad", "many\n")); r.err == nil || !strings.Contains(r.err.Error(), "many") {
		t.Errorf("error %v", r.err)
	}
}

// Nobody wants the whole machine to run out of memory for a test, so the files
// are made up here.
func TestOutOfMemoryWithoutALimitOfTheStepsOwn(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  OutOfMemory
		text  string
	}{
		{"the machine's, v2", map[string]string{
			"memory.events": "low 0\noom 0\noom_kill 3\n", "memory.events.local": "oom 0\noom_kill 3\n", "memory.max": "max\n",
		}, OutOfMemory{Kills: 3, Limit: LimitOfMachine}, "the kernel killed 3 processes of the step: the machine's memory was used up"},
		{"the machine's, below the step's limit", map[string]string{
			"memory.events": "oom 0\noom_kill 1\n", "memory.events.local": "oom 0\noom_kill 1\n", "memory.max": "4096\n",
		}, OutOfMemory{Kills: 1, Limit: LimitOfMachine}, "the kernel killed a process of the step: the machine's memory was used up"},
		{"a group's of the step's making", map[string]string{
			"memory.events": "oom 1\noom_kill 1\n", "memory.events.local": "oom 0\noom_kill 0\n", "memory.max": "max\n",
		}, OutOfMemory{Kills: 1, Limit: LimitInStep}, "the kernel killed a process of the step at a limit of memory that the step has set itself"},
		{"the machine's, v1", map[string]string{
			"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "memory.failcnt": "0\n", "memory.limit_in_bytes": "9223372036854771712\n",
		}, OutOfMemory{Kills: 1, Limit: LimitOfMachine}, "the kernel killed a process of the step: the machine's memory was used up"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			group := cgroup{unified: dir}
			if _, v1 := test.files["memory.failcnt"]; v1 {
				group = cgroup{v1: map[string]string{"memory": dir}}
			}
			got, err := group.outOfMemory()
			if got != test.want || err != nil || got.String() != test.text {
				t.Errorf("got %+v (%s), %v; want %+v", got, got, err, test.want)
			}
		})
	}
}

func TestRuntimesWordsAboutMemoryAreRecognised(t *testing.T) {
	for message, want := range map[string]bool{
		"create container: unable to start container process: container init was OOM-killed (memory limit too low?)":                             true,
		"error setting cgroup config for procHooks process: unable to set memory limit to 2097152 (current usage: 2277376, peak usage: 2510848)": true,
		"unable to apply cgroup configuration: mkdir /sys/fs/cgroup/memory/x: permission denied":                                                 false,
	} {
		if got := tooLittleMemory(message); got != want {
			t.Errorf("%q: %v, want %v", message, got, want)
		}
	}
}

func FuzzCPUList(f *testing.F) {
	for _, list := range []string{"0", "0-3,8", "", ",", "3-1", "-", "0-", "99999999999", "0-65535"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		ranges, err := parseCPUList(list)
		if err != nil {
			return
		}
		var parts []string
		for _, r := range ranges {
			if r.first < 0 || r.first > r.last {
				t.Fatalf("%q has the range %v", list, r)
			}
			parts = append(parts, fmt.Sprintf("%d-%d", r.first, r.last))
		}
		again, err := parseCPUList(strings.Join(parts, ","))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(ranges) {
			t.Fatalf("%q reads as %v, written again as %v (%v)", list, ranges, again, err)
		}
	})
}

// BenchmarkUsage is on the way of every step: 0.3 ms would be too much.
func BenchmarkUsage(b *testing.B) {
	trees, err := listHierarchies()
	if err != nil {
		b.Fatal(err)
	}
	group := cgroup{v1: map[string]string{}}
	for _, tree := range trees {
		dir := filepath.Join(tree.mountpoint, "stepexec-benchmark")
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				b.Error(err)
			}
		})
		if tree.unified {
			group.unified = dir
			continue
		}
		for _, controller := range tree.controllers {
			group.v1[controller] = dir
		}
	}
	for b.Loop() {
		var u Usage
		if err := group.addUsage(&u); err != nil {
			b.Fatal(err)
		}
	}
}

package sandbox_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox"
)

// groups are the directories of a cgroup in all hierarchies.
func groups(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, err := filepath.Glob(pattern + path)
		must(t, err)
		all = append(all, found...)
	}
	return all
}

// groupsOfStep finds those of step 1, wherever they are.
func groupsOfStep(t *testing.T, host *sandbox.Host) (all []string) {
	t.Helper()
	name := "stepexec-" + host.ID() + "-1"
	must(t, filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.TrimSuffix(entry.Name(), ".scope") == name {
			all = append(all, path)
		}
		return nil // others come and go
	}))
	if len(all) == 0 {
		t.Fatalf("no cgroup is called %s", name)
	}
	return all
}

func TestCgroupParentIsMadeAndTakenAway(t *testing.T) {
	root := t.TempDir()
	first, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), RuntimeCalls: byCalls()})
	must(t, err)
	second, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), RuntimeCalls: byCalls()})
	must(t, err)
	step := func() *sandbox.Step {
		s := script(t, "cat /proc/1/cgroup")
		s.Advanced.CgroupParent = "/stepexec-test-parent/builds/one"
		return s
	}
	var there []string
	_, err = runStep(t, first, step(), func(s *sandbox.Sandbox) {
		there = groups(t, "/stepexec-test-parent/builds/one/stepexec-"+first.ID()+"-1")
	})
	must(t, err)
	if len(there) == 0 {
		t.Error("the step was not in the group that it asks for")
	}
	_, err = runStep(t, second, step(), func(*sandbox.Sandbox) { must(t, first.Close()) })
	must(t, err)
	if left := groups(t, "/stepexec-test-parent/builds/one/*stepexec*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	must(t, second.Close())
	if left := groups(t, "/stepexec-test-parent"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCgroupParentOfSomebodyElseStays(t *testing.T) {
	dir := "/sys/fs/cgroup/memory/stepexec-test-other"
	if onCgroup2(t) {
		dir = "/sys/fs/cgroup/stepexec-test-other"
	}
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: testRuntime(), RuntimeCalls: byCalls()})
	must(t, err)
	step := script(t, "true")
	step.Advanced.CgroupParent = "/stepexec-test-other/ours"
	output(t, host, step)
	must(t, host.Close())
	if got := groups(t, "/stepexec-test-other"); len(got) != 1 || got[0] != dir {
		t.Errorf("there is %v, want %s alone", got, dir)
	}
	if left := groups(t, "/stepexec-test-other/ours"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCgroupParentOfADeadRunIsTakenAway(t *testing.T) {
	root := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestDieWhileAStepRuns$")
	child.Env = append(os.Environ(), "SANDBOX_DIE_IN="+root, "SANDBOX_ROOTFS="+busybox(t), "SANDBOX_CGROUP_PARENT=/stepexec-test-dead/builds")
	out, err := child.CombinedOutput()
	if len(groups(t, "/stepexec-test-dead/builds")) == 0 {
		t.Fatalf("the dead run left no cgroup, so this test shows nothing: %v, %s", err, out)
	}
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), RuntimeCalls: byCalls()})
	must(t, err)
	must(t, host.Leftovers())
	must(t, host.Close())
	if left := groups(t, "/stepexec-test-dead"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCgroupParentThatLeadsElsewhereIsRefused(t *testing.T) {
	host := openHost(t)
	step := script(t, "true")
	for _, parent := range []string{"../x", "/../x", "/a/../../x", "relative", "/a/./b", "/a/", "//a", "/a\nb", ".", "..", "/.."} {
		step.Advanced.CgroupParent = parent
		_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
		if err == nil || !strings.HasPrefix(err.Error(), "cgroup_parent: ") {
			t.Errorf("%q: got error %v", parent, err)
		}
	}
}

func TestSystemdMustRunToMakeCgroups(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("it runs here")
	}
	_, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), SystemdCgroup: true})
	if !errors.Is(err, sandbox.ErrNoSystemd) || !strings.Contains(err.Error(), "--systemd-cgroup") {
		t.Errorf("got %v", err)
	}
}

func TestFrozenStepCanBeStopped(t *testing.T) {
	host := openHost(t)
	step := script(t, "echo ready; sleep 1000")
	_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		must(t, s.Start(t.Context()))
		waitFor(t, step.Stdout.Name(), "ready\n")
		group := groupsOfStep(t, host)
		frozen := false
		for _, dir := range group {
			v1 := os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("FROZEN"), 0)
			frozen = frozen || v1 == nil
		}
		if !frozen {
			for _, dir := range group {
				must(t, os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("1"), 0))
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		exit, err := s.Wait(ctx, sandbox.Stopping{Grace: 50 * time.Millisecond})
		must(t, err)
		if exit.Code != 137 {
			t.Errorf("got %+v, want code 137", exit)
		}
	})
	must(t, err)
}

func TestFrozenStepCanBeRemoved(t *testing.T) {
	host := openHost(t)
	_, err := runStep(t, host, script(t, "true"), func(s *sandbox.Sandbox) {
		for _, dir := range groupsOfStep(t, host) {
			for name, text := range map[string]string{"freezer.state": "FROZEN", "cgroup.freeze": "1"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0))
				}
			}
		}
	})
	must(t, err)
}

func TestCrowdOfProcessesEndsWithTheStep(t *testing.T) {
	needController(t, "pids")
	host := openHost(t)
	// More than are held by descriptors at once; half of them are deaf to the stop signal.
	step := script(t, `i=0; trap '' TERM; while [ $i -lt 500 ]; do i=$((i+1)); sleep 1000 & done
trap - TERM; while [ $i -lt 1000 ]; do i=$((i+1)); sleep 1000 & done; echo ready; wait`)
	step.Limits.Pids = 1200
	_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		must(t, s.Start(t.Context()))
		waitFor(t, step.Stdout.Name(), "ready\n")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		exit, err := s.Wait(ctx, sandbox.Stopping{Grace: 100 * time.Millisecond})
		must(t, err)
		if exit.Code != 137 || exit.Usage.PeakPids != 0 && exit.Usage.PeakPids < 1000 {
			t.Errorf("got %+v, want code 137 of 1000 processes", exit)
		}
	})
	must(t, err)
}

func TestForkBombEndsWithTheStep(t *testing.T) {
	needController(t, "pids")
	host := openHost(t)
	step := script(t, `echo ready; bomb() { bomb & bomb; }; bomb 2>/dev/null; while :; do :; done`)
	step.Shell = []string{"/bin/sh"}
	step.Limits.Pids = 1000
	_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		must(t, s.Start(t.Context()))
		waitFor(t, step.Stdout.Name(), "ready\n")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		exit, err := s.Wait(ctx, sandbox.Stopping{Grace: 200 * time.Millisecond})
		must(t, err)
		if exit.Code == 0 {
			t.Errorf("got %+v", exit)
		}
	})
	must(t, err)
}

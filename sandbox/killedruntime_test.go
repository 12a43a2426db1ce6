package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/stepexec/stepexec/sandbox"
)

// groupsOf lists the cgroups of a run's containers in all trees.
func groupsOf(t *testing.T, run string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/stepexec-%s*", "/sys/fs/cgroup/*/stepexec-%s*", "/sys/fs/cgroup/*/*/stepexec-%s*"} {
		found, err := filepath.Glob(fmt.Sprintf(pattern, run))
		must(t, err)
		all = append(all, found...)
	}
	return all
}

// A runtime that is killed by itself, at whatever moment of whatever call, leaves
// halves: those are gone with the run.
func TestNothingIsLeftWhenTheRuntimeIsKilledAtAnyMoment(t *testing.T) {
	if bySystemd() {
		t.Skip("the runtime's groups are systemd's")
	}
	real, err := exec.LookPath(testRuntime())
	must(t, err)
	sleep := fmt.Sprint(4_000_000 + os.Getpid()) // seconds, a name for the step's process
	for _, parent := range []string{"", fmt.Sprintf("/killed-%d/builds", os.Getpid())} {
		root := t.TempDir()
		killing := filepath.Join(t.TempDir(), "killing")
		write(t, killing, fmt.Sprintf("#!/bin/bash\n[ \"$1\" = --version ] && exec %[1]s --version\nexec timeout --foreground -s KILL 0.0$(printf %%02d $((RANDOM %% 60 + 1))) %[1]s \"$@\"\n", real))
		must(t, os.Chmod(killing, 0o755))
		host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: killing, RuntimeCalls: byCalls()})
		must(t, err)
		killed := 0
		for i := range 40 {
			step := script(t, "exec sleep "+sleep)
			step.ID, step.Advanced.CgroupParent = fmt.Sprint(i), parent
			step.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			must(t, err)
			step.Stderr = step.Stdout
			s, err := host.Prepare(t.Context(), step)
			if err == nil {
				if s.Start(t.Context()) != nil {
					killed++
				}
				err = s.Remove()
			}
			if err != nil {
				killed++
			}
			must(t, step.Stdout.Close())
		}
		if killed < 5 {
			t.Fatalf("the runtime was killed in %d of 40 steps, so this test shows little", killed)
		}
		if err := host.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(root))
		must(t, err)
		processes, _ := exec.Command("pgrep", "-f", "sleep "+sleep).Output()
		groups := groupsOf(t, host.ID())
		parents, err := filepath.Glob("/sys/fs/cgroup/*" + filepath.Dir(parent))
		if parent == "" {
			parents = nil
		}
		must(t, err)
		if len(mounts) > 0 || len(processes) > 0 || len(groups) > 0 || len(parents) > 0 {
			t.Errorf("left behind: mounts %v, processes %q, groups %v, their parents %v", mounts, strings.Fields(string(processes)), groups, parents)
		}
	}
}

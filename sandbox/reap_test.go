package sandbox_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/stepexec/stepexec/sandbox"
)

func TestNextRunClearsAwayOneThatDied(t *testing.T) {
	root := t.TempDir()
	state := filepath.Join(t.TempDir(), "runtime")
	must(t, os.MkdirAll(filepath.Join(state, "somebody-else"), 0o700))
	child := exec.Command(os.Args[0], "-test.run=^TestDieWhileAStepRuns$")
	child.Env = append(os.Environ(), "SANDBOX_DIE_IN="+root, "SANDBOX_ROOTFS="+busybox(t), "SANDBOX_RUNTIME_ROOT="+state)
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), "about to die") {
		t.Fatalf("child: %v: %s", err, out)
	}
	if left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(root)); err != nil || len(left) == 0 {
		t.Fatalf("the dead run left no mounts, so this test shows nothing (%v)", err)
	}
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), RuntimeCalls: byCalls()})
	must(t, err)
	must(t, host.Leftovers())
	must(t, host.Close())
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(root))
	must(t, err)
	runs, err := os.ReadDir(filepath.Join(root, "runs"))
	must(t, err)
	states, err := os.ReadDir(state)
	must(t, err)
	procs, err := exec.Command("pgrep", "-f", "sleep 98765").Output()
	if len(mounts) > 0 || len(runs) > 0 || err == nil || len(states) != 1 {
		t.Errorf("left behind: mounts %v, runs %v, processes %s, of the runtime %v", mounts, runs, procs, states)
	}
}

func TestLeftoversThatStayAreReportedAndDisturbNoRun(t *testing.T) {
	root := t.TempDir()
	dead := filepath.Join(root, "runs", "dead", "runtime", "dead-1")
	must(t, os.MkdirAll(dead, 0o700))
	write(t, filepath.Join(dead, "state.json"), "not what a runtime writes")
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), RuntimeCalls: byCalls()})
	must(t, err)
	defer host.Close()
	if left := host.Leftovers(); left == nil || !strings.Contains(left.Error(), "clear away run dead") {
		t.Errorf("leftovers: %v", left)
	}
	if _, _, exit := output(t, host, script(t, "true")); exit.Code != 0 {
		t.Errorf("exit code %d", exit.Code)
	}
}

// TestDieWhileAStepRuns is the child of the test above.
func TestDieWhileAStepRuns(t *testing.T) {
	root := os.Getenv("SANDBOX_DIE_IN")
	if root == "" {
		return
	}
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), RuntimeRoot: os.Getenv("SANDBOX_RUNTIME_ROOT"),
		SystemdCgroup: bySystemd(), RuntimeCalls: byCalls()})
	must(t, err)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	must(t, err)
	step := &sandbox.Step{
		ID: "1", Lowerdirs: []string{os.Getenv("SANDBOX_ROOTFS")}, Entrypoint: []string{"sleep", "98765"},
		Advanced: sandbox.Advanced{CgroupParent: os.Getenv("SANDBOX_CGROUP_PARENT")},
		Stdout:   null, Stderr: null, Network: os.Getenv("SANDBOX_DIE_NETWORK"),
	}
	if step.Network == sandbox.NetworkPrivate {
		step.Names.Ports = []sandbox.Port{{Host: freePort(t), Container: 5432}}
	}
	s, err := host.Prepare(t.Context(), step)
	must(t, err)
	must(t, s.Start(t.Context()))
	os.Stdout.WriteString("about to die\n")
	process, err := os.FindProcess(os.Getpid())
	must(t, err)
	must(t, process.Kill())
	select {}
}

package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// toldRuntime is a runtime that notes its verbs in a file; version, unless it is "", is what it says of itself.
func toldRuntime(t *testing.T, version string) (path, calls string) {
	t.Helper()
	real, err := exec.LookPath("runc")
	must(t, err)
	dir := t.TempDir()
	path, calls = filepath.Join(dir, "runtime"), filepath.Join(dir, "calls")
	text := "#!/bin/bash\n"
	if version != "" {
		text += fmt.Sprintf("[ \"$1\" = --version ] && { echo '%s'; exit; }\n", version)
	}
	text += fmt.Sprintf("for word; do case $word in create|start|delete|--version) echo $word >>%s; break;; esac; done\nexec %s \"$@\"\n", calls, real)
	write(t, path, text)
	must(t, os.Chmod(path, 0o755))
	write(t, calls, "")
	return path, calls
}

func TestOnlyWhatIsKnownStartsAndEndsWithoutTheRuntime(t *testing.T) {
	if bySystemd() || byCalls() {
		t.Skip("the runtime is called anyway")
	}
	const all = "create start delete"
	foreign := fmt.Sprintf("/stepexec-test-shared-%d", os.Getpid())
	hooks := `{"hooks":{"%s":[{"path":"/bin/true"}]}}`
	for _, test := range []struct {
		name    string
		version string
		options func(*sandbox.Options)
		step    func(*sandbox.Step)
		want    string
	}{
		{"runc", "", nil, nil, "--version create"},
		{"first release", "runc version 1.0.0", nil, nil, "create"},
		{"a distribution's", "runc version 1.3.3-0ubuntu1~24.04.2", nil, nil, "create"},
		{"release candidate of the first", "runc version 1.0.0-rc95", nil, nil, all},
		{"a later one", "runc version 2.0.0", nil, nil, all},
		{"of long ago", "runc version 0.1.1", nil, nil, all},
		{"another runtime", "crun version 1.8.1", nil, nil, all},
		{"one that says nothing", " ", nil, nil, all},
		{"asked for", "", func(o *sandbox.Options) { o.RuntimeCalls = true }, nil, all},
		{"others look at the state", "", func(o *sandbox.Options) { o.RuntimeRoot = t.TempDir() }, nil, all},
		{"joins processes of another", "runc version 1.1.5", nil, func(s *sandbox.Step) {
			s.Advanced.Namespaces = map[string]string{"pid": fmt.Sprintf("/proc/%d/ns/pid", os.Getpid())}
		}, all},
		{"poststart hook", "runc version 1.1.5", nil, func(s *sandbox.Step) { s.Advanced.SpecPatch = fmt.Appendf(nil, hooks, "poststart") }, all},
		{"poststop hook", "runc version 1.1.5", nil, func(s *sandbox.Step) { s.Advanced.SpecPatch = fmt.Appendf(nil, hooks, "poststop") }, all},
		{"cgroup of another name", "runc version 1.1.5", nil, func(s *sandbox.Step) {
			s.Advanced.SpecPatch = fmt.Appendf(nil, `{"linux":{"cgroupsPath":%q}}`, foreign)
		}, "create delete"},
	} {
		t.Run(test.name, func(t *testing.T) {
			runtime, calls := toldRuntime(t, test.version)
			options := sandbox.Options{Root: t.TempDir(), Runtime: runtime}
			if test.options != nil {
				test.options(&options)
			}
			host, err := sandbox.Open(t.Context(), options)
			must(t, err)
			step := script(t, "echo started; exit 3")
			if test.step != nil {
				test.step(step)
			}
			stdout, stderr, exit := output(t, host, step)
			if stdout != "started\n" || exit.Code != 3 {
				t.Errorf("output %q %q, exit %+v", stdout, stderr, exit)
			}
			if left := groupsOf(t, host.ID()); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			must(t, host.Close())
			said, err := os.ReadFile(calls)
			must(t, err)
			got := strings.Join(strings.Fields(string(said)), " ")
			if got = strings.TrimPrefix(got, "--version "); got != strings.TrimPrefix(test.want, "--version ") {
				t.Errorf("the runtime was called to %q, want %q", got, test.want)
			}
			if left := groups(t, foreign); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestRuntimeIsAskedForItsVersionOnceUntilItIsAnother(t *testing.T) {
	if byCalls() {
		t.Skip("it is not asked")
	}
	runtime, calls := toldRuntime(t, "")
	root := t.TempDir()
	open := func() string {
		must(t, os.Truncate(calls, 0))
		host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: runtime})
		must(t, err)
		_, _, exit := output(t, host, script(t, "true"))
		must(t, host.Close())
		said, err := os.ReadFile(calls)
		must(t, err)
		return fmt.Sprint(exit.Code, strings.Fields(string(said)))
	}
	write(t, filepath.Join(root, "runtime.json"), "{") // cut short by a power loss, say
	if got := open(); got != "0 [--version create]" {
		t.Errorf("first: %s", got)
	}
	if got := open(); got != "0 [create]" {
		t.Errorf("again: %s", got)
	}
	old, err := os.ReadFile(runtime)
	must(t, err)
	write(t, runtime, strings.Replace(string(old), "#!/bin/bash\n", "#!/bin/bash\n[ \"$1\" = --version ] && { echo crun version 1; exit; }\n", 1))
	if got := open(); got != "0 [create start delete]" {
		t.Errorf("changed: %s", got)
	}
}

func TestContainerThatDiedBeforeItsStartIsAnErrorAndLeavesNothing(t *testing.T) {
	host := openHost(t)
	step := script(t, "echo never")
	pidFile := filepath.Join(t.TempDir(), "pid")
	step.Advanced.PidFile = pidFile
	out, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		var pid int
		data, err := os.ReadFile(pidFile)
		must(t, err)
		_, err = fmt.Sscan(string(data), &pid)
		must(t, err)
		must(t, unix.Kill(pid, unix.SIGKILL))
		if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "start container: ") {
			t.Errorf("start: %v", err)
		}
	})
	must(t, err)
	if out[0] != "" {
		t.Errorf("output %q", out[0])
	}
}

// The tests of starting, ending and clearing away pass in both ways: what they are about is what the
// runtime leaves, and what stepexec does in its place.
func TestStartingAndEndingByCallsOfTheRuntime(t *testing.T) {
	if byCalls() {
		t.Skip("this is the child")
	}
	child := exec.Command(os.Args[0], "-test.v", "-test.run", "^("+strings.Join([]string{
		"TestStepRunsItsScriptAndReportsHowItEnded", "TestContainerThatDiedBeforeItsStartIsAnErrorAndLeavesNothing", "TestCancelledStepGetsItsStopSignal",
		"TestSecondStopKillsAtOnce", "TestNothingIsLeftWhenTheRuntimeIsKilledAtAnyMoment", "TestNextRunClearsAwayOneThatDied",
		"TestCgroupParentIsMadeAndTakenAway", "TestCgroupParentOfSomebodyElseStays", "TestPatchChangesTheGeneratedSpecification",
	}, "|")+")$")
	child.Env = append(os.Environ(), "STEPEXEC_TEST_RUNTIME_CALLS=1")
	out, err := child.CombinedOutput()
	if passed := strings.Count(string(out), "\n--- PASS") + strings.Count(string(out), "\n--- SKIP"); err != nil || passed < 8 {
		t.Errorf("%v, %d tests passed: %s", err, passed, out)
	}
}

package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/sandbox/forkserver"
)

// show prints what a process has been given, except for its numbers.
const show = `
grep -E '^(Umask|Uid|Gid|Groups|Sig[PBIC]|Shd|Cap|NoNewPrivs|Seccomp|Speculation|Cpus_allowed_list|Threads|TracerPid)' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup /proc/self/attr/current 2>&1
for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done
echo open: $(ls /proc/$$/fd)
test $(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f3-4 | tr ' ' '\n' | uniq | head -1) = $$ && echo leads its group and session
sed 's/.*) //' /proc/$$/stat | cut -d' ' -f2,5,16,17
pwd
env | sort
readlink /proc/self/root /proc/self/exe
grep -c . /proc/self/mountinfo
`

func TestProgramsOfAForkServerGetWhatTheRuntimeGives(t *testing.T) {
	layer := libraries(t)
	for name, change := range map[string]func(*sandbox.Step){
		"plain": func(*sandbox.Step) {},
		"user": func(s *sandbox.Step) {
			s.User, s.Security.Groups, s.Directory = "builder", []string{"1600"}, "/home/builder"
		},
		"privileged":       func(s *sandbox.Step) { s.Security.Privileged = true },
		"unconfined":       func(s *sandbox.Step) { s.Security.Seccomp, s.Security.AllowNewPrivileges = "unconfined", true },
		"few capabilities": func(s *sandbox.Step) { s.Security.CapDrop, s.Security.CapAdd = []string{"ALL"}, []string{"CHOWN"} },
		"read-only":        func(s *sandbox.Step) { s.Security.ReadOnly = true },
		"init":             func(s *sandbox.Step) { s.Advanced.Init = true },
		"own network":      func(s *sandbox.Step) { s.Network = sandbox.NetworkNone },
		"limits": func(s *sandbox.Step) {
			s.Limits = container.Limits{Memory: 200 << 20, Pids: 100, Ulimits: []container.Ulimit{{Name: "nofile", Soft: 200, Hard: 200}, {Name: "stack", Soft: 1 << 20, Hard: 2 << 20}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			step := script(t, "sleep 1000")
			step.Lowerdirs = append(step.Lowerdirs, layer)
			change(step)
			running(t, openHost(t), step, func(s *sandbox.Sandbox) {
				o := sandbox.ExecOptions{Args: []string{"sh", "-c", show}, Env: []string{"A=1", "B=x y"}}
				want, exit, err := execute(t, s, o)
				if err != nil || exit.Code != 0 || !strings.Contains(want, "leads its group and session") {
					t.Fatalf("the runtime's: %+v, %v, %s", exit, err, want)
				}
				must(t, s.ServeExecs(t.Context()))
				hasForkServer(t, s, forks())
				got, exit, err := execute(t, s, o)
				if diff := cmp.Diff(want, got); diff != "" || err != nil || exit.Code != 0 {
					t.Errorf("%+v, %v: %s", exit, err, diff)
				}
			})
		})
	}
}

// forks says whether a plain step can have a fork server in the way in which the tests are run.
func forks() bool { return testRuntime() == "runc" && !byCalls() }

// hasForkServer checks whether a step has a fork server.
func hasForkServer(t *testing.T, s *sandbox.Sandbox, want bool) {
	t.Helper()
	got, exit, err := execute(t, s, sandbox.ExecOptions{Args: []string{"sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"}})
	if err != nil || exit.Code != 0 || strings.Contains(got, forkserver.Argument+" ") != want {
		t.Errorf("%+v, %v; want a fork server %v: %q", exit, err, want, got)
	}
}

func TestStepsInWhichAForkServerCouldDifferHaveNone(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile.json")
	write(t, profile, `{"defaultAction": "SCMP_ACT_ALLOW"}`)
	layer, held := libraries(t), holdNamespaces(t)
	for name, change := range map[string]func(*sandbox.Step, *sandbox.Options){
		"filter of its own": func(s *sandbox.Step, _ *sandbox.Options) { s.Security.Seccomp = profile },
		"processes of another": func(s *sandbox.Step, _ *sandbox.Options) {
			s.Advanced.Namespaces = map[string]string{"pid": filepath.Join(held, "pid")}
		},
		"little memory":      func(s *sandbox.Step, _ *sandbox.Options) { s.Limits.Memory = 32 << 20 },
		"few processes":      func(s *sandbox.Step, _ *sandbox.Options) { s.Limits.Pids = 50 },
		"all by the runtime": func(_ *sandbox.Step, o *sandbox.Options) { o.RuntimeCalls = true },
	} {
		t.Run(name, func(t *testing.T) {
			step, o := script(t, "sleep 1000"), sandbox.Options{Root: t.TempDir(), Runtime: testRuntime()}
			step.Lowerdirs = append(step.Lowerdirs, layer)
			change(step, &o)
			host, err := sandbox.Open(t.Context(), o)
			must(t, err)
			defer func() { must(t, host.Close()) }()
			running(t, host, step, func(s *sandbox.Sandbox) {
				must(t, s.ServeExecs(t.Context()))
				hasForkServer(t, s, false)
			})
		})
	}
}

// itsNumber prints the number of the fork server's process.
const itsNumber = "grep -l [s]tepexec-fork-server /proc/[0-9]*/cmdline | cut -d/ -f3"

// A program of the step does to the fork server what it can.
func TestProgramsAreStartedWhateverAStepHasDoneToItsForkServer(t *testing.T) {
	for name, code := range map[string]string{
		"ends all processes":     "kill -9 -1",
		"asks all to end":        "trap '' TERM; kill -TERM -1",
		"sends all signals":      "for n in $(seq 1 64); do test $n = 9 || test $n = 19 || kill -$n $(" + itsNumber + "); done",
		"ends it":                "kill -9 $(" + itsNumber + ")",
		"writes its descriptors": "for f in /proc/[0-9]*/fd/3; do echo rubbish > $f; done 2>&1",
		"limits what it may do":  "ulimit -n 4",
	} {
		t.Run(name, func(t *testing.T) {
			step := script(t, "trap : TERM; while :; do sleep 1000 & wait; done")
			step.Lowerdirs = append(step.Lowerdirs, libraries(t))
			running(t, openHost(t), step, func(s *sandbox.Sandbox) {
				must(t, s.ServeExecs(t.Context()))
				_, _, err := execute(t, s, sandbox.ExecOptions{Args: []string{"sh", "-c", code}})
				must(t, err)
				for _, want := range []int{0, 7} {
					got, exit, err := execute(t, s, sandbox.ExecOptions{Args: []string{"sh", "-c", "echo it runs; exit $0", string(rune('0' + want))}})
					if err != nil || exit.Code != want || got != "it runs\n" {
						t.Errorf("%q, %+v, %v", got, exit, err)
					}
				}
			})
		})
	}
}

func TestAForkServerThatEndsIsStartedOnceMore(t *testing.T) {
	step := script(t, "sleep 1000")
	step.Lowerdirs = append(step.Lowerdirs, libraries(t))
	running(t, openHost(t), step, func(s *sandbox.Sandbox) {
		must(t, s.ServeExecs(t.Context()))
		for _, want := range []bool{forks(), forks(), false, false} {
			hasForkServer(t, s, want)
			_, _, err := execute(t, s, sandbox.ExecOptions{Args: []string{"sh", "-c", "kill -9 $(" + itsNumber + ")"}})
			must(t, err)
		}
	})
}

// What is in the container as root, without CAP_SYS_PTRACE, cannot read what the fork server has.
func TestAForkServerIsClosedToTheStep(t *testing.T) {
	step := script(t, "sleep 1000")
	step.Lowerdirs = append(step.Lowerdirs, libraries(t))
	running(t, openHost(t), step, func(s *sandbox.Sandbox) {
		must(t, s.ServeExecs(t.Context()))
		got, _, err := execute(t, s, sandbox.ExecOptions{Args: []string{"sh", "-c", `
p=$(` + itsNumber + `)
for f in exe fd/0 fd/3 root cwd; do readlink /proc/$p/$f && echo $f is open; done
for f in environ mem maps; do cat /proc/$p/$f > /dev/null && echo $f is open; done
cat /proc/$p/comm > /dev/null && echo looked`}})
		if err != nil || strings.Contains(got, "is open") || strings.Contains(got, "looked\n") != forks() {
			t.Errorf("%v: %s", err, got)
		}
	})
}

func TestManyProgramsOfAForkServerRunAtOnce(t *testing.T) {
	step := script(t, "sleep 1000")
	step.Lowerdirs = append(step.Lowerdirs, libraries(t))
	running(t, openHost(t), step, func(s *sandbox.Sandbox) {
		must(t, s.ServeExecs(t.Context()))
		codes := make(chan [2]int)
		const most = 40
		for want := range most {
			go func() {
				exit, err := s.Exec(context.WithoutCancel(t.Context()), sandbox.ExecOptions{Args: []string{"sh", "-c", "exit " + string(rune('0'+want%10))}, Stdin: os.Stdin})
				if err != nil {
					t.Error(err)
				}
				codes <- [2]int{want % 10, exit.Code}
			}()
		}
		for range most {
			if got := <-codes; got[0] != got[1] {
				t.Errorf("exit code %d, want %d", got[1], got[0])
			}
		}
	})
}

package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox"
)

// running starts a step, hands it to use and ends it.
func running(t *testing.T, host *sandbox.Host, step *sandbox.Step, use func(*sandbox.Sandbox)) {
	t.Helper()
	_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		must(t, s.Start(t.Context()))
		use(s)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_, err := s.Wait(ctx, sandbox.Stopping{})
		must(t, err)
	})
	must(t, err)
}

// runningEachWay does the same twice: programs in the step are started by the runtime, and by a fork
// server.
func runningEachWay(t *testing.T, step *sandbox.Step, use func(*testing.T, *sandbox.Sandbox)) {
	t.Run("by the runtime", func(t *testing.T) {
		running(t, openHost(t), step, func(s *sandbox.Sandbox) { use(t, s) })
	})
	t.Run("by a fork server", func(t *testing.T) {
		step.Lowerdirs = append(step.Lowerdirs, libraries(t))
		running(t, openHost(t), step, func(s *sandbox.Sandbox) {
			must(t, s.ServeExecs(t.Context()))
			use(t, s)
		})
	})
}

// libraries returns a layer with the files that this program, which is the fork server too, needs to
// be executed: none, unless it is linked dynamically.
func libraries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, _ := exec.Command("ldd", os.Args[0]).CombinedOutput() // it fails for a program without libraries
	for word := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(word, "/") || strings.HasSuffix(word, ":") {
			continue
		}
		data, err := os.ReadFile(word)
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, word)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, word), data, 0o755))
	}
	return dir
}

// execute runs a program in the sandbox and returns what it wrote.
func execute(t *testing.T, s *sandbox.Sandbox, o sandbox.ExecOptions) (string, sandbox.Exit, error) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	defer out.Close()
	o.Stdout, o.Stderr = out, out
	exit, err := s.Exec(t.Context(), o)
	data, readErr := os.ReadFile(out.Name())
	must(t, readErr)
	return string(data), exit, err
}

func TestExecRunsAsTheStepDoesUnlessTold(t *testing.T) {
	step := script(t, "sleep 1000")
	step.Env, step.User, step.Directory = []string{"OF_STEP=1", "BOTH=step"}, "builder", "/tmp"
	const show = `id -u; pwd; echo $OF_STEP $BOTH $HOME; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status`
	runningEachWay(t, step, func(t *testing.T, s *sandbox.Sandbox) {
		confined := "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
		for _, test := range []struct {
			name string
			o    sandbox.ExecOptions
			want string
		}{
			{"as the step", sandbox.ExecOptions{}, "1000\n/tmp\n1 step /home/builder\n" + confined},
			{"told", sandbox.ExecOptions{Env: []string{"BOTH=exec"}, User: "1234:1500", Dir: "/etc"}, "1234\n/etc\n1 exec /\n" + confined},
		} {
			test.o.Args = []string{"sh", "-c", show}
			got, exit, err := execute(t, s, test.o)
			if err != nil || exit.Code != 0 || got != test.want {
				t.Errorf("%s: got %q, exit %+v, %v; want %q", test.name, got, exit, err, test.want)
			}
		}
	})
}

func TestAnotherUserOfExecHasTheGroupsThatTheStepAsksFor(t *testing.T) {
	step := script(t, "sleep 1000")
	step.User, step.Security.Groups = "1234:1500", []string{"1600", "1700"}
	runningEachWay(t, step, func(t *testing.T, s *sandbox.Sandbox) {
		for user, want := range map[string]string{"": "1500 1600 1700", "2345:2500": "2500 1600 1700", "builder": "1000 1500 1600 1700"} {
			got, exit, err := execute(t, s, sandbox.ExecOptions{Args: []string{"id", "-G"}, User: user})
			if err != nil || exit.Code != 0 || strings.TrimSpace(got) != want {
				t.Errorf("user %q: got %q, exit %+v, %v; want %q", user, got, exit, err, want)
			}
		}
	})
}

func TestExecSaysHowTheProgramEnded(t *testing.T) {
	runningEachWay(t, script(t, "sleep 1000"), func(t *testing.T, s *sandbox.Sandbox) {
		for command, want := range map[string]int{"exit 7": 7, "kill -9 $$": 137, "cat": 0} {
			if _, exit, err := execute(t, s, sandbox.ExecOptions{Args: []string{"sh", "-c", command}}); err != nil || exit.Code != want {
				t.Errorf("%s: got %+v, %v", command, exit, err)
			}
		}
		var command *sandbox.CommandError
		if _, _, err := execute(t, s, sandbox.ExecOptions{Args: []string{"nope"}}); !errors.As(err, &command) || command.Code != 127 {
			t.Errorf("a program that is not there: %v", err)
		}
		var user *sandbox.UserError
		if _, _, err := execute(t, s, sandbox.ExecOptions{Args: []string{"true"}, User: "nobody-at-all"}); !errors.As(err, &user) {
			t.Errorf("a user that is not there: %v", err)
		}
		if _, _, err := execute(t, s, sandbox.ExecOptions{Args: []string{"true"}, Dir: "/proc/self/fd/7"}); err == nil {
			t.Error("a directory under /proc is no way out")
		}
	})
}

func TestStreamsOfAnExecThatAreNotGivenAreTheNullDevice(t *testing.T) {
	runningEachWay(t, script(t, "sleep 1000"), func(t *testing.T, s *sandbox.Sandbox) {
		const command = "for n in 0 1 2; do [ -c /proc/$$/fd/$n ] || exit 1$n; done"
		exit, err := s.Exec(t.Context(), sandbox.ExecOptions{Args: []string{"sh", "-c", command}})
		if err != nil || exit.Code != 0 {
			t.Errorf("got %+v, %v; an exit code from 10 on is the number of a stream", exit, err)
		}
	})
}

func TestExecIsKilledWithItsGroupWhenTheContextEnds(t *testing.T) {
	runningEachWay(t, script(t, "sleep 1000"), func(t *testing.T, s *sandbox.Sandbox) {
		ours, theirs, err := os.Pipe()
		must(t, err)
		ctx, cancel := context.WithCancelCause(t.Context())
		over := errors.New("the probe's time is over")
		done := make(chan error)
		go func() {
			_, err := s.Exec(ctx, sandbox.ExecOptions{Args: []string{"sh", "-c", "sleep 1000 & echo begun; wait"}, Stdout: theirs})
			done <- errors.Join(err, theirs.Close())
		}()
		begun := make([]byte, len("begun\n"))
		_, err = io.ReadFull(ours, begun)
		must(t, err)
		cancel(over)
		if err := <-done; !errors.Is(err, over) {
			t.Errorf("got %v, want the cause", err)
		}
		if _, err := io.ReadAll(ours); err != nil { // it ends only when the sleep is dead, too
			t.Error(err)
		}
		must(t, ours.Close())
	})
}

func TestProgramsOfAnExecAreAskedToEndOnce(t *testing.T) {
	const command = `trap 'echo program asked' TERM; echo begun
sh -c 'trap "echo child asked" TERM; echo begun; while :; do sleep 1000 & wait; done' &
setsid sh -c 'trap "echo other asked" TERM; echo begun; while :; do sleep 1000 & wait; done' &
while :; do wait; done`
	runningEachWay(t, script(t, "sleep 1000"), func(t *testing.T, s *sandbox.Sandbox) {
		ours, theirs, err := os.Pipe()
		must(t, err)
		defer ours.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error)
		go func() {
			_, err := s.Exec(ctx, sandbox.ExecOptions{Args: []string{"sh", "-c", command}, Stdout: theirs, Grace: time.Second})
			done <- errors.Join(err, theirs.Close())
		}()
		_, err = io.ReadFull(ours, make([]byte, 3*len("begun\n")))
		must(t, err)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		said, err := io.ReadAll(ours)
		must(t, err)
		for _, who := range []string{"program", "child", "other"} {
			if got := strings.Count(string(said), who+" asked\n"); got != 1 {
				t.Errorf("the %s was asked %d times: %q", who, got, said)
			}
		}
	})
}

func TestExecHasATerminalWhenAsked(t *testing.T) {
	runningEachWay(t, script(t, "sleep 1000"), func(t *testing.T, s *sandbox.Sandbox) {
		typed, theirs, err := os.Pipe()
		must(t, err)
		defer typed.Close()
		defer theirs.Close()
		got, exit, err := execute(t, s, sandbox.ExecOptions{
			Stdin: typed, Args: []string{"sh", "-c", "read go; tty; stty size"}, TTY: true,
			Terminal: func(terminal *sandbox.Terminal) {
				must(t, terminal.Resize(100, 50)) // an exec begins at once: its program may be ahead until it reads
				_, err := theirs.Write([]byte("\n"))
				must(t, err)
			},
		})
		if err != nil || exit.Code != 0 || !strings.Contains(got, "/dev/pts/") || !strings.Contains(got, "50 100") {
			t.Errorf("got %q, %+v, %v", got, exit, err)
		}
	})
}

func TestExecLeavesNoSecretBehind(t *testing.T) {
	host := openHost(t)
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", os.Getenv("TMPDIR"))
	running(t, host, script(t, "sleep 1000"), func(s *sandbox.Sandbox) {
		before, err := host.Dir("1")
		must(t, err)
		if _, _, err := execute(t, s, sandbox.ExecOptions{Args: []string{"true"}, Env: []string{"TOKEN=s3cret-value"}}); err != nil {
			t.Fatal(err)
		}
		left, err := filepath.Glob(filepath.Join(before, "exec-*"))
		must(t, err)
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestDialReachesWhatListensInTheStepsOwnNetwork(t *testing.T) {
	to := netip.MustParseAddrPort("127.0.0.1:18431")
	for _, network := range []string{sandbox.NetworkHost, sandbox.NetworkNone, sandbox.NetworkPrivate} {
		t.Run(network, func(t *testing.T) {
			step := script(t, "exec httpd -f -p 127.0.0.1:18431")
			step.Network = network
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := runStep(t, openHost(t), step, func(s *sandbox.Sandbox) {
				if conn, err := s.Dial(ctx, to); err == nil {
					t.Fatalf("something else listens at %v", conn.RemoteAddr())
				}
				must(t, s.Start(ctx))
				conn, err := s.Dial(ctx, to)
				for err != nil && ctx.Err() == nil {
					conn, err = s.Dial(ctx, to)
				}
				must(t, err)
				must(t, conn.Close())
				cancel()
				_, err = s.Wait(ctx, sandbox.Stopping{})
				must(t, err)
			})
			must(t, err)
		})
	}
}

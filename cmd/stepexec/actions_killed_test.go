package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// promptly bounds what must not wait for a job that nobody wants any more. A service that is
// waited for takes minutes.
const promptly = 30 * time.Second

// neverReady are the args of a job whose service notes that it runs, and is never healthy. It
// does not obey SIGTERM.
func (r *hookRunner) neverReady(t *testing.T) map[string]any {
	t.Helper()
	args := r.example(t, "prepare_job")
	container := args["container"].(map[string]any)
	delete(container, "portMappings")
	args["services"] = []any{map[string]any{
		"image": r.image, "entryPoint": "sh", "entryPointArgs": []string{"-c", `"trap '' TERM; echo up > /noted/up; while :; do sleep 100000; done"`},
		"createOptions":    "--health-cmd false --health-interval 1s --health-retries 3000",
		"userMountVolumes": []any{map[string]any{"sourceVolumePath": filepath.Join(r.dir, "work"), "targetVolumePath": "/noted"}},
	}}
	return args
}

// begin calls prepare_job for a job that is never ready, and returns when its service runs.
func (r *hookRunner) begin(t *testing.T) *exec.Cmd {
	t.Helper()
	up := filepath.Join(r.dir, "work/up")
	if err := os.RemoveAll(up); err != nil {
		t.Fatal(err)
	}
	cmd := r.command(t, map[string]any{"command": "prepare_job", "args": r.neverReady(t)})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, up)
	return cmd
}

func TestHookEndsAJobWhosePrepareWasEnded(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := r.begin(t)
			began := time.Now()
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if signal == syscall.SIGINT {
				if left, _ := filepath.Glob(r.root + "/actions/*"); len(left) > 0 {
					t.Errorf("left behind: after the interrupt there is still %q", left)
				}
			}
			r.prepare(t, nil)
			if took := time.Since(began); took > promptly {
				t.Errorf("the next job had to wait for %v", took)
			}
			t.Logf("signal to the next job's start: %v", time.Since(began))
			if got := r.script(t, "echo here"); got.out != "here\n" {
				t.Errorf("a script of the next job: %d, %s", got.code, got.out)
			}
		})
	}
}

// stuckIn are phases in which prepare_job stays for ever, and how to learn that it is there.
func (r *hookRunner) stuckIn(t *testing.T, phase string) (args map[string]any, isThere func() bool) {
	t.Helper()
	if phase == "health" {
		up := filepath.Join(r.dir, "work/up")
		if err := os.RemoveAll(up); err != nil {
			t.Fatal(err)
		}
		return r.neverReady(t), func() bool { data, _ := os.ReadFile(up); return len(data) > 0 }
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0") // a registry that never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var asked atomic.Bool
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			asked.Store(true)
			t.Cleanup(func() { conn.Close() })
		}
	}()
	args = r.withServices(t)
	args["container"].(map[string]any)["image"] = listener.Addr().String() + "/image"
	return args, asked.Load
}

func TestHookThatIsEndedInPrepareLeavesNothing(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.flags = ""
	for _, phase := range []string{"pull", "health"} {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%s, %s", phase, signal), func(t *testing.T) {
				args, isThere := r.stuckIn(t, phase)
				cmd := r.command(t, map[string]any{"command": "prepare_job", "args": args})
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(time.Minute); !isThere(); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("a minute after its start prepare_job has not come to the phase")
					}
				}
				r.endedBy(t, cmd, signal)
			})
		}
	}
}

// TestHookThatIsEndedAtAnyMomentLeavesNothing signals prepare_job at random moments.
func TestHookThatIsEndedAtAnyMomentLeavesNothing(t *testing.T) {
	t.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	r := newHookRunner(t, hookImages(t))
	r.flags = ""
	args := r.withServices(t, r.serviceOf("exec sleep 1000", ""))
	began := time.Now()
	if got := r.call(t, "prepare_job", args); got.code != 0 {
		t.Fatalf("undisturbed: %d, %s", got.code, got.out)
	}
	whole := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range *kills / 2 {
		signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}[i%3]
		after := time.Duration(random.Int64N(int64(whole)))
		cmd := r.command(t, map[string]any{"command": "prepare_job", "args": args})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // the moment is what is random
		r.endedBy(t, cmd, signal)
		if t.Failed() {
			t.Fatalf("seed %d, try %d: %v after %v", seed, i, signal, after)
		}
	}
}

// endedBy signals a prepare_job, and checks that the hook clears everything away before it ends. One
// that is killed cannot: the next prepare_job of the runner does it.
func (r *hookRunner) endedBy(t *testing.T, hook *exec.Cmd, signal syscall.Signal) {
	t.Helper()
	began := time.Now()
	_ = hook.Process.Signal(signal) // it may have ended
	_ = hook.Wait()
	took := time.Since(began)
	if took > promptly {
		t.Errorf("the hook ended %v after the signal", took)
	}
	t.Logf("ended after %v", took.Round(time.Millisecond))
	// A signal at the very end kills the hook when its job is ready: the runner cleans up.
	if hook.ProcessState.ExitCode() <= 0 {
		r.prepare(t, nil)
		if got := r.script(t, "echo here"); got.out != "here\n" {
			t.Errorf("a script of the next job: %d, %s", got.code, got.out)
		}
		if got := r.call(t, "cleanup_job", nil); got.code != 0 {
			t.Errorf("clean-up: %d, %s", got.code, got.out)
		}
	}
	if left, _ := filepath.Glob(r.root + "/actions/*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	k := killing{root: r.root}
	if left := k.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestHookEndsAJobWhoseKeeperIsStopped(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	if err := r.signalKeepers(t, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.prepare(t, nil)
	if got := r.script(t, "echo here"); got.out != "here\n" {
		t.Errorf("a script of the next job: %d, %s", got.code, got.out)
	}
}

// signalKeepers signals the keepers of the runner's jobs: without root each is two processes, one
// that waits and one in the namespace. At the test's end those that are stopped go on.
func (r *hookRunner) signalKeepers(t *testing.T, signal syscall.Signal) error {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	found := false
	for _, file := range processes {
		data, _ := os.ReadFile(file)
		if text := string(data); !strings.Contains(text, "actions-job\x00") || !strings.Contains(text, r.root) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // it may be gone
		found = true
	}
	if !found {
		return errors.New("no keeper was found")
	}
	return nil
}

func TestHookEndsAJobWhoseRunnerIsGone(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	if err := os.RemoveAll(filepath.Join(r.dir, "work/_temp")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left, err := filepath.Glob(r.root + "/actions/*")
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left behind: a minute after its runner's folder, the job: %q", left)
		}
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "work/_temp/_runner_hook_responses"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// An ephemeral runner has a folder of its own for each job, and its successor the same name and ports.
func TestHookEndsTheJobOfAnEphemeralRunnerThatIsGone(t *testing.T) {
	host := hookImages(t)
	for _, test := range []struct {
		name string
		gone func(t *testing.T, r *hookRunner, args map[string]any)
	}{
		{"folder", func(t *testing.T, r *hookRunner, args map[string]any) {
			if got := r.call(t, "prepare_job", args); got.code != 0 {
				t.Fatalf("%d, %s", got.code, got.out)
			}
			if err := os.RemoveAll(filepath.Join(r.dir, "work/_temp")); err != nil {
				t.Fatal(err)
			}
		}},
		{"process", func(t *testing.T, r *hookRunner, args map[string]any) {
			r.prepareIn(t, r.worker(t), args)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, second := newHookRunner(t, host), newHookRunner(t, host)
			second.root, second.sharesRoot, second.name = first.root, true, first.name
			first.flags, second.flags = "", ""
			args := first.example(t, "prepare_job")
			test.gone(t, first, args)
			of := second.example(t, "prepare_job")
			for _, container := range []any{of["container"], of["services"].([]any)[0]} {
				delete(container.(map[string]any), "portMappings")
			}
			of["services"].([]any)[0].(map[string]any)["portMappings"] = args["services"].([]any)[0].(map[string]any)["portMappings"]
			if got := second.call(t, "prepare_job", of); got.code != 0 {
				t.Errorf("the successor: %d, %s", got.code, got.out)
			}
			if jobs := mustGlob(t, first.root+"/actions/*"); len(jobs) != 1 {
				t.Errorf("there are jobs %q", jobs)
			}
			if err := os.MkdirAll(filepath.Join(first.dir, "work/_temp/_runner_hook_responses"), 0o755); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// worker is a program with the name of the runner's process for one job.
func (r *hookRunner) worker(t *testing.T) string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(bash)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(r.dir, "Runner.Worker")
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return program
}

// prepareIn calls prepare_job in a worker, and kills the worker when it has ended.
func (r *hookRunner) prepareIn(t *testing.T, worker string, args map[string]any) {
	t.Helper()
	cmd := r.command(t, map[string]any{"command": "prepare_job", "args": args})
	cmd.Path, cmd.Args = worker, append([]string{worker, "-c", `bash "$@"; echo "ended with $?"; read -r line <&3`, "worker"}, cmd.Args[1:]...)
	held, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	cmd.ExtraFiles = []*os.File{held}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), held.Close()); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "ended with"); {
		printed.WriteString(lines.Text() + "\n")
	}
	if len(mustGlob(t, r.root+"/actions/*")) == 0 {
		t.Fatalf("no job was prepared: %s", &printed)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The runner need not close the hook's stdin.
func TestHookReadsOneRequestAndDoesNotWaitForMore(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	cmd := r.command(t, map[string]any{"command": "prepare_jobs"})
	request := cmd.Stdin
	cmd.Stdin = nil
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(in, request); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if state, err := cmd.Process.Wait(); err != nil || state.ExitCode() != 1 {
		t.Errorf("%v, %v", state, err)
	}
}

func TestHookAnswersWithTheImagesOfTheRequest(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.flags = ""
	args := r.example(t, "prepare_job")
	got := r.call(t, "prepare_job", args)
	if got.code != 0 || got.container == nil || got.container.Image != args["container"].(map[string]any)["image"] {
		t.Fatalf("%d, container %+v: %s", got.code, got.container, got.out)
	}
	for i, service := range got.services {
		if want := args["services"].([]any)[i].(map[string]any)["image"]; service.Image != want {
			t.Errorf("service %d is of image %q; want %v", i, service.Image, want)
		}
	}
}

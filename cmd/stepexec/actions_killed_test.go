package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
					t.Errorf("after the interrupt there is still %q", left)
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
			t.Fatalf("a minute after its runner's folder the job is still there: %q", left)
		}
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "work/_temp/_runner_hook_responses"), 0o755); err != nil {
		t.Fatal(err)
	}
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

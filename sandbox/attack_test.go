package sandbox_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// refusal prepares a step that must not come to be, and returns why.
func refusal(t *testing.T, host *sandbox.Host, step *sandbox.Step) string {
	t.Helper()
	_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestDescriptorsOfStepexecDoNotReachAStep(t *testing.T) {
	// One that stepexec itself has inherited, without close-on-exec.
	fd, err := unix.Open("/etc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	step := script(t, "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do readlink /proc/1/fd/$n | sed \"s,^,$n ,\"; done | grep -v ' /run/stepexec/script$'")
	got, _, _ := output(t, openHost(t), step)
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "0 /dev/null") && !strings.HasPrefix(line, "1 ") && !strings.HasPrefix(line, "2 ") {
			t.Errorf("the step has descriptor %s", line)
		}
	}
	if strings.Contains(got, "/etc") || got == "" {
		t.Errorf("the step's descriptors are %q", got)
	}
}

func TestWorkingDirectoryCannotBeADescriptor(t *testing.T) {
	host := openHost(t)
	for n := 3; n < 12; n++ {
		plain := script(t, "ls -a ..")
		plain.Config.WorkingDir = fmt.Sprintf("/proc/self/fd/%d", n)
		if err := refusal(t, host, plain); !strings.Contains(err, "it cannot be in /proc") {
			t.Errorf("working directory %s: got %q", plain.Config.WorkingDir, err)
		}
		// What the image links to is seen by the runtime alone.
		linked := script(t, "ls -a ..")
		must(t, os.Symlink("/proc/self/fd", filepath.Join(linked.Lowerdirs[0], "fds")))
		linked.Directory = fmt.Sprintf("/fds/%d", n)
		var exit sandbox.Exit
		out, err := runStep(t, host, linked, func(s *sandbox.Sandbox) {
			if err := s.Start(t.Context()); err == nil {
				exit, _ = s.Wait(t.Context(), sandbox.Stopping{})
			}
		})
		if err == nil && exit.Code == 0 {
			t.Errorf("working directory %s: the step ran, and saw %q", linked.Directory, out[0])
		}
	}
}

func TestWorkingDirectoryThroughLinksStaysInTheImage(t *testing.T) {
	sentinel := t.TempDir()
	step := script(t, "pwd -P; : > made")
	must(t, os.Symlink("../../../../../../../../.."+sentinel, filepath.Join(step.Lowerdirs[0], "job")))
	must(t, os.MkdirAll(filepath.Join(step.Lowerdirs[0], sentinel), 0o755))
	step.Directory = "/job/sub"
	got, stderr, _ := output(t, openHost(t), step)
	if left, _ := os.ReadDir(sentinel); len(left) > 0 || got != filepath.Join(sentinel, "sub")+"\n" {
		t.Errorf("the step was in %q, the host's directory holds %v; %s", got, left, stderr)
	}
}

func TestSecretsAreInNoProcessListAndNoFileOfTheRun(t *testing.T) {
	const token = "hunter2-hunter2-hunter2"
	root := t.TempDir()
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime()})
	must(t, err)
	t.Cleanup(func() { must(t, host.Close()) })
	step := script(t, "echo $TOKEN > /shared/ready; cat /shared/go")
	shared := t.TempDir()
	for _, name := range []string{"ready", "go"} {
		must(t, unix.Mkfifo(filepath.Join(shared, name), 0o600))
	}
	step.Env, step.Mounts = []string{"TOKEN=" + token}, []sandbox.Mount{bind(shared, "/shared")}
	_, err = runStep(t, host, step, func(s *sandbox.Sandbox) {
		look := func(when string) {
			commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
			must(t, err)
			for _, path := range commands {
				if line, _ := os.ReadFile(path); bytes.Contains(line, []byte(token)) {
					t.Errorf("%s: the secret is in the arguments of a process: %q", when, line)
				}
			}
			if found := filesWith(t, root, token); len(found) > 0 {
				t.Errorf("%s: the secret is in %v", when, found)
			}
		}
		look("created")
		must(t, s.Start(t.Context()))
		ready, err := os.ReadFile(filepath.Join(shared, "ready")) // until the step has come so far
		must(t, err)
		if string(ready) != token+"\n" {
			t.Errorf("the step has %q", ready)
		}
		look("running")
		must(t, os.WriteFile(filepath.Join(shared, "go"), nil, 0o600))
		_, err = s.Wait(t.Context(), sandbox.Stopping{})
		must(t, err)
		look("ended")
	})
	must(t, err)
}

func TestSecretsOfOneStepAreNotInAnother(t *testing.T) {
	host := openHost(t)
	first := script(t, "true")
	first.Env, first.Secrets = []string{"TOKEN=hunter2"}, []sandbox.Secret{{Path: "/run/secrets/key", Value: []byte("hunter2")}}
	_, err := runStep(t, host, first, func(*sandbox.Sandbox) {
		second := script(t, "ls /run/secrets 2>/dev/null; env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; cat /proc/self/mountinfo")
		second.ID, second.User = "2", "builder"
		got, _, _ := output(t, host, second)
		if strings.Contains(got, "hunter2") || strings.Contains(got, "secrets") {
			t.Errorf("the other step sees %s", got)
		}
	})
	must(t, err)
}

// The runtime's own program is process 1 until the step's command takes its
// place. A command that is a script for /proc/self/exe runs that program again,
// and /proc/1/exe is then a way to the host's file (CVE-2019-5736).
func TestTheRuntimesProgramCannotBeOverwritten(t *testing.T) {
	runtime, err := exec.LookPath(testRuntime())
	must(t, err)
	sum := func() [sha256.Size]byte {
		data, err := os.ReadFile(runtime)
		must(t, err)
		return sha256.Sum256(data)
	}
	before := sum()
	host := openHost(t)
	for _, entry := range []string{"#!/proc/self/exe\n", "#!/bin/sh\nfor i in 1 2 3; do exec 3<>/proc/1/exe; echo owned >&3; done\n"} {
		step := script(t, "")
		path := filepath.Join(step.Lowerdirs[0], "attack")
		write(t, path, entry)
		must(t, os.Chmod(path, 0o755))
		step.Script, step.Entrypoint = nil, []string{"/attack"}
		var exit sandbox.Exit
		_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
			if err := s.Start(t.Context()); err == nil {
				exit, _ = s.Wait(t.Context(), sandbox.Stopping{})
			}
		})
		if err == nil && exit.Code == 0 {
			t.Errorf("the command %q succeeded", entry)
		}
	}
	if sum() != before {
		t.Error("the runtime was overwritten")
	}
}

func TestCrashingStepLeavesNoCoreFile(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	must(t, err)
	if bytes.HasPrefix(pattern, []byte("|")) || bytes.HasPrefix(pattern, []byte("/")) {
		t.Skipf("core files of this host go to %s", pattern)
	}
	workspace := t.TempDir()
	step := script(t, "cd /workspace; sh -c 'kill -SEGV $$' || true; ls")
	step.Mounts = []sandbox.Mount{bind(workspace, "/workspace")}
	got, _, _ := output(t, openHost(t), step)
	if got != "" {
		t.Errorf("the workspace holds %q", got)
	}
}

// A device in the place of a file is not even opened: opening can be all that it
// takes to do harm. Here it is one that has no driver, which an open would tell.
func TestDevicesInThePlaceOfPasswdAreNotOpened(t *testing.T) {
	step := script(t, "true")
	passwd := filepath.Join(step.Lowerdirs[0], "etc/passwd")
	must(t, os.Remove(passwd))
	must(t, unix.Mknod(passwd, unix.S_IFCHR|0o666, int(unix.Mkdev(4095, 4095))))
	_, err := runStep(t, openHost(t), step, func(*sandbox.Sandbox) { t.Error("prepared") })
	if err == nil || errors.Is(err, unix.ENXIO) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}

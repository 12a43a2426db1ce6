package sandbox_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/sandbox"
)

// Whatever a step names of the host in its workspace, or in a directory that a policy lets
// steps write to, an earlier step can swap for a link to the host's own files.
func TestNothingOfTheHostIsUsedThroughWhatAnEarlierStepSwapped(t *testing.T) {
	host := openHost(t)
	outside := t.TempDir() // of the host
	write(t, filepath.Join(outside, "secret"), "secret")
	write(t, filepath.Join(outside, "profile.json"), `{"defaultAction": "SCMP_ACT_ALLOW"}`)
	tests := []struct {
		name  string
		swap  string // script of the earlier step, in /shared
		later func(step *sandbox.Step, shared string)
		want  string
	}{
		{"image that is a directory", "ln -s / root", func(s *sandbox.Step, shared string) { s.Lowerdirs = []string{shared + "/root"} }, "leads out"},
		{"folder above such an image", "ln -s " + outside + " a", func(s *sandbox.Step, shared string) { s.Lowerdirs = []string{shared + "/a/b"} }, "leads out"},
		{"image by ..", "ln -s ../../../../../.. root", func(s *sandbox.Step, shared string) { s.Lowerdirs = []string{shared + "/root"} }, "leads out"},
		{"seccomp profile", "ln -s " + outside + "/profile.json p.json", func(s *sandbox.Step, shared string) { s.Security.Seccomp = shared + "/p.json" }, "leads out"},
		{"seccomp profile that is a FIFO", "mkfifo p.json", func(s *sandbox.Step, shared string) { s.Security.Seccomp = shared + "/p.json" }, "not a regular file"},
		{"pid file", "ln -s " + outside + "/secret pid", func(s *sandbox.Step, shared string) { s.Advanced.PidFile = shared + "/pid" }, "leads out"},
		{"folder of a pid file", "ln -s " + outside + " a", func(s *sandbox.Step, shared string) { s.Advanced.PidFile = shared + "/a/new" }, "leads out"},
		{"mount", "ln -s " + outside + " a", func(s *sandbox.Step, shared string) { s.Mounts = []sandbox.Mount{bind(shared+"/a", "/mnt")} }, "leads out"},
		{"mount that is made", "ln -s " + outside + " a", func(s *sandbox.Step, shared string) {
			s.Mounts = []sandbox.Mount{bind(shared+"/a/new", "/mnt")}
			s.Mounts[0].Create = true
		}, "leads out"},
		{"device", "mknod disk b 8 0 2>/dev/null || touch disk", func(s *sandbox.Step, shared string) {
			s.Security.Devices = []sandbox.Device{{Source: shared + "/disk", Destination: "/dev/disk"}}
		}, "where steps can make device nodes"},
		{"directory of devices", "mkdir a; mknod a/disk b 8 0 2>/dev/null || touch a/disk", func(s *sandbox.Step, shared string) {
			s.Security.Devices = []sandbox.Device{{Source: shared + "/a", Destination: "/dev/a"}}
		}, "where steps can make device nodes"},
	}
	for _, test := range tests {
		for _, where := range []string{"workspace", "root of a policy"} {
			t.Run(test.name+", "+where, func(t *testing.T) {
				shared := t.TempDir()
				steps := [2]*sandbox.Step{script(t, "cd /shared; "+test.swap), script(t, "cat /etc/shadow /mnt/secret")}
				for _, step := range steps {
					step.Workspace = shared
					if where != "workspace" {
						step.Workspace, step.Roots = t.TempDir(), []string{shared}
					}
				}
				steps[0].Mounts = []sandbox.Mount{bind(shared, "/shared")}
				if _, stderr, exit := output(t, host, steps[0]); exit.Code != 0 {
					t.Fatalf("exit code %d, %s", exit.Code, stderr)
				}
				test.later(steps[1], shared)
				if err := refusal(t, host, steps[1]); !strings.Contains(err, test.want) {
					t.Errorf("got %q, want %q in it", err, test.want)
				}
			})
		}
	}
	if data, err := os.ReadFile(filepath.Join(outside, "secret")); string(data) != "secret" || err != nil {
		t.Errorf("the host's file is %q, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(outside, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made on the host: %v", err)
	}
}

func TestImageThatIsADirectoryOfTheWorkspaceWorks(t *testing.T) {
	step := script(t, "echo works")
	step.Workspace = filepath.Dir(step.Lowerdirs[0])
	if got, stderr, exit := output(t, openHost(t), step); got != "works\n" || exit.Code != 0 {
		t.Errorf("code %d, got %q; %s", exit.Code, got, stderr)
	}
}

package sandbox_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/sandbox"
)

func TestPrepareRefusesWhatCannotRun(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, s *sandbox.Step)
		want   string
	}{
		{"missing bind source", func(_ *testing.T, s *sandbox.Step) {
			s.Mounts = []sandbox.Mount{{Type: "bind", Source: "/no/such", Destination: "/x", Options: []string{"rbind"}}}
		}, "mount /no/such at /x: no such file or directory on the host (create it, or set create: true)"},
		{"command not in the image", func(_ *testing.T, s *sandbox.Step) { s.Script, s.Entrypoint = nil, []string{"nope"} },
			`nope: command not found in image busybox`},
		{"absolute command not in the image", func(_ *testing.T, s *sandbox.Step) { s.Script, s.Entrypoint = nil, []string{"/bin/nope"} },
			`/bin/nope: command not found in image busybox`},
		{"shell not in the image", func(_ *testing.T, s *sandbox.Step) { s.Shell = []string{"/bin/bash"} },
			`/bin/bash: command not found in image busybox`},
		{"command not executable", func(_ *testing.T, s *sandbox.Step) { s.Script, s.Entrypoint = nil, []string{"/etc/passwd"} },
			`/etc/passwd: command is not executable in image busybox`},
		{"no command at all", func(_ *testing.T, s *sandbox.Step) { s.Script = nil }, "nothing to run"},
		{"user not in the image", func(_ *testing.T, s *sandbox.Step) { s.User = "alice" },
			`user "alice" in image busybox: no such user in its /etc/passwd`},
		{"group not in the image", func(_ *testing.T, s *sandbox.Step) { s.User = "0:nope" },
			`user "0:nope" in image busybox: no such group in its /etc/group`},
		{"uid that wraps around to root", func(_ *testing.T, s *sandbox.Step) { s.User = "4294967296" }, "range"},
		{"uid of the image that wraps around to root", func(_ *testing.T, s *sandbox.Step) { s.User = "wrap" }, "range"},
		{"hexadecimal uid", func(_ *testing.T, s *sandbox.Step) { s.User = "0x0" }, "no such user"},
		{"negative uid", func(_ *testing.T, s *sandbox.Step) { s.User = "-1" }, "range"},
		{"passwd is a FIFO", func(t *testing.T, s *sandbox.Step) {
			must(t, os.Remove(filepath.Join(s.Lowerdirs[0], "etc/passwd")))
			must(t, exec.Command("mkfifo", filepath.Join(s.Lowerdirs[0], "etc/passwd")).Run())
		}, "/etc/passwd is not a regular file"},
		{"/proc is a link", func(t *testing.T, s *sandbox.Step) {
			must(t, os.Symlink("/tmp", filepath.Join(s.Lowerdirs[0], "proc")))
		}, "image busybox: refused: its /proc is not a directory"},
		{"secret path that climbs", func(_ *testing.T, s *sandbox.Step) {
			s.Secrets = []sandbox.Secret{{Path: "/run/secrets/../../etc/x"}}
		}, "must be a file name below /run/secrets"},
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, "true")
			test.change(t, step)
			_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestUserOfTheHostIsNeverAsked(t *testing.T) {
	step := script(t, "id -u")
	// A link out of the image must lead into the image.
	passwd := filepath.Join(step.Lowerdirs[0], "etc/passwd")
	must(t, os.Remove(passwd))
	must(t, os.Symlink("/../../../../../etc/passwd-outside", passwd))
	outside := "/etc/passwd-outside"
	write(t, outside, "spy:x:0:0::/:/bin/sh\n")
	t.Cleanup(func() { must(t, os.Remove(outside)) })
	step.User = "spy"
	_, err := runStep(t, openHost(t), step, func(*sandbox.Sandbox) {})
	var userError *sandbox.UserError
	if !errors.As(err, &userError) {
		t.Errorf("got %v, want a UserError", err)
	}
}

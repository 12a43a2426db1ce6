package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// mapped is a step that has a user namespace of its own.
func mapped(t *testing.T, text string) *sandbox.Step {
	step := script(t, text)
	step.Security.UIDMap = []sandbox.IDMap{{Container: 0, Host: 100000, Size: 65536}}
	step.Security.GIDMap = []sandbox.IDMap{{Container: 0, Host: 200000, Size: 65536}}
	return step
}

func TestUserNamespaceHasTheIDsItAsksFor(t *testing.T) {
	step := mapped(t, `
		tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map
		stat -c '%u:%g %n' /bin/busybox /home/builder / /run/stepexec/script
		echo new > /new; chown builder:tools /new; stat -c '%u:%g %n' /new
		rm /bin/ls; test ! -e /bin/ls; chmod 700 /home/builder; stat -c '%u:%g %a' /home/builder
		cat /etc/hosts > /dev/null; cat /run/secrets/key; echo
		ls -A /sys/fs/cgroup > /dev/null; test -c /dev/null`)
	step.Secrets = []sandbox.Secret{{Path: "/run/secrets/key", Value: []byte("s3cret")}}
	stdout, stderr, exit := output(t, openHost(t), step)
	want := " 0 100000 65536\n 0 200000 65536\n" +
		"0:0 /bin/busybox\n1000:1000 /home/builder\n0:0 /\n65534:65534 /run/stepexec/script\n" +
		"1000:1500 /new\n1000:1000 700\ns3cret\n"
	if stdout != want || exit.Code != 0 {
		t.Errorf("exit code %d, got:\n%swant:\n%s%s", exit.Code, stdout, want, stderr)
	}
}

func TestUserNamespaceIsSomebodyElseOnTheHost(t *testing.T) {
	workspace := t.TempDir()
	must(t, os.Chmod(workspace, 0o777))
	step := mapped(t, "echo by root > /workspace/root; echo ready; cat /root-of-host/only && exit 1; exit 0")
	secret := t.TempDir()
	must(t, os.WriteFile(filepath.Join(secret, "only"), []byte("root's"), 0o600))
	step.Mounts = []sandbox.Mount{
		{Type: "bind", Source: workspace, Destination: "/workspace", Options: []string{"bind"}},
		{Type: "bind", Source: secret, Destination: "/root-of-host", Options: []string{"bind"}},
	}
	stdout, stderr, exit := output(t, openHost(t), step)
	if exit.Code != 0 || stdout != "ready\n" {
		t.Fatalf("exit code %d, %q: %s", exit.Code, stdout, stderr)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(workspace, "root"), &st))
	if st.Uid != 100000 || st.Gid != 200000 {
		t.Errorf("what root of the container made belongs to %d:%d, want 100000:200000", st.Uid, st.Gid)
	}
}

func TestSetuidProgramsWorkInAUserNamespace(t *testing.T) {
	step := mapped(t, "id -u; exec -a su /bin/suid -c 'id -u'")
	step.User = "builder"
	step.Security.AllowNewPrivileges = true
	program := filepath.Join(step.Lowerdirs[0], "bin/suid") // a busybox; as su it keeps what it is given
	data, err := os.ReadFile("/bin/busybox")
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	must(t, os.Chmod(program, 0o755|os.ModeSetuid))
	write(t, filepath.Join(step.Lowerdirs[0], "etc/passwd"), "root::0:0:root:/root:/bin/sh\nbuilder:x:1000:1000::/home/builder:/bin/sh\n")
	stdout, stderr, _ := output(t, openHost(t), step)
	if stdout != "1000\n0\n" {
		t.Errorf("got %q, want user 1000 and then 0: %s", stdout, stderr)
	}
}

func TestWorkspaceOfAUserNamespaceGoesToItsOwner(t *testing.T) {
	workspace := t.TempDir()
	must(t, os.Chmod(workspace, 0o777))
	step := mapped(t, "echo > /workspace/file")
	step.Workspace = workspace
	step.Mounts = []sandbox.Mount{{Type: "bind", Source: workspace, Destination: "/workspace", Options: []string{"bind"}}}
	step.WorkspaceOwner = &sandbox.Owner{UID: 1234, GID: 1234}
	if _, stderr, exit := output(t, openHost(t), step); exit.Code != 0 {
		t.Fatal(stderr)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(workspace, "file"), &st))
	if st.Uid != 1234 || st.Gid != 1234 {
		t.Errorf("the file belongs to %d:%d", st.Uid, st.Gid)
	}
}

func TestMapsThatCannotBeAreRefused(t *testing.T) {
	for want, maps := range map[string][]sandbox.IDMap{
		"no id for the container's root": {{Container: 1, Host: 100000, Size: 10}},
		"make a user namespace":          {{Container: 0, Host: 100000, Size: 10}, {Container: 5, Host: 300000, Size: 10}},
		"is not in uidmap and gidmap":    {{Container: 0, Host: 100000, Size: 10}},
	} {
		step := mapped(t, "true")
		step.User = "1000"
		step.Security.UIDMap = maps
		_, err := openHost(t).Prepare(t.Context(), step)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want an error with %q", maps, err, want)
		}
	}
}

// Whoever knows where a root file system is mounted must not run its setuid programs.
func TestRootOfAUserNamespaceIsReachedByItsOwnGroupAlone(t *testing.T) {
	host, step := openHost(t), mapped(t, "true")
	_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		dir := filepath.Join("/run/stepexec/rootfs", host.ID(), step.ID)
		var st unix.Stat_t
		must(t, unix.Stat(dir, &st))
		if st.Mode&0o7777 != 0o710 || st.Uid != 0 || st.Gid != 200000 {
			t.Errorf("%s is %o of %d:%d, want 710 of 0:200000", dir, st.Mode&0o7777, st.Uid, st.Gid)
		}
		must(t, s.Start(t.Context()))
		_, err := s.Wait(t.Context(), sandbox.Stopping{})
		must(t, err)
	})
	must(t, err)
}

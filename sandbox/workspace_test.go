package sandbox_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// owners maps the names in a directory to uid and gid, links not followed.
func owners(t *testing.T, dir string) map[string][2]uint32 {
	t.Helper()
	all := map[string][2]uint32{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		err = errors.Join(err, unix.Lstat(path, &st))
		all[strings.TrimPrefix(path, dir)] = [2]uint32{st.Uid, st.Gid}
		return err
	}))
	return all
}

func TestFilesThatRootMadeInTheWorkspaceGoToItsOwner(t *testing.T) {
	workspace := t.TempDir()
	must(t, os.Chown(workspace, 1000, 1000))
	outside := t.TempDir()
	write(t, filepath.Join(outside, "root-file"), "")
	must(t, os.Link(filepath.Join(outside, "root-file"), filepath.Join(workspace, "second-name")))
	must(t, os.Mkdir(filepath.Join(workspace, "mount"), 0o755))
	must(t, unix.Mount(outside, filepath.Join(workspace, "mount"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(workspace, "mount"), 0)) })
	step := script(t, `
cd /workspace
mkdir -p a/b && : > a/b/file && ln -s /etc/passwd a/link && ln -s `+outside+` dirlink
: > one && ln one a/two
: > others && chown 1234:1235 others
: > group && chown 0:1235 group
mkfifo fifo
mknod disk b 8 0
: > setuid && chmod 4755 setuid
exit 3`)
	step.Workspace, step.WorkspaceOwner = workspace, &sandbox.Owner{UID: 1000, GID: 1001}
	step.Mounts = []sandbox.Mount{bind(workspace, "/workspace")}
	_, stderr, exit := output(t, openHost(t), step)
	if exit.Code != 3 {
		t.Fatalf("exit code %d, %s", exit.Code, stderr)
	}
	given, roots := [2]uint32{1000, 1001}, [2]uint32{}
	want := map[string][2]uint32{
		"": {1000, 1000}, "/a": given, "/a/b": given, "/a/b/file": given, "/a/link": given, "/dirlink": given,
		"/one": given, "/a/two": given, "/others": {1234, 1235}, "/group": {1000, 1235}, "/fifo": given, "/disk": roots, "/setuid": given,
		"/second-name": roots, "/mount": roots, "/mount/root-file": roots,
	}
	if diff := cmp.Diff(want, owners(t, workspace)); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][2]uint32{"": roots, "/root-file": roots}, owners(t, outside)); diff != "" {
		t.Errorf("outside the workspace (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(workspace, "setuid"))
	must(t, err)
	if info.Mode()&os.ModeSetuid != 0 {
		t.Error("root's setuid program is now its owner's, setuid still")
	}
}

func TestWorkspaceStaysAsItIsUnlessAskedFor(t *testing.T) {
	workspace := t.TempDir()
	step := script(t, ": > /workspace/file")
	step.Workspace, step.Mounts = workspace, []sandbox.Mount{bind(workspace, "/workspace")}
	output(t, openHost(t), step)
	if got := owners(t, workspace)["/file"]; got != [2]uint32{} {
		t.Errorf("the file belongs to %v", got)
	}
}

// The rule for steps that are not root: the workspace has the host's owners and
// modes, so the user's number decides, not the name.
func TestStepOfTheWorkspacesOwnerCanUseIt(t *testing.T) {
	workspace := t.TempDir()
	must(t, os.Chmod(workspace, 0o755))
	must(t, os.Chown(workspace, 1000, 1000))
	host := openHost(t)
	for user, want := range map[string]int{"builder": 0, "1000:1000": 0, "4711": 1} {
		step := script(t, ": > /workspace/file")
		step.User, step.Workspace = user, workspace
		step.Mounts = []sandbox.Mount{bind(workspace, "/workspace")}
		if _, stderr, exit := output(t, host, step); exit.Code != want {
			t.Errorf("user %s: code %d, want %d; %s", user, exit.Code, want, stderr)
		}
	}
}

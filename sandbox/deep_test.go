package sandbox_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/sandbox"
)

// nest3000 is a script that nests 3,000 directories where it is, more than most
// processes can have descriptors, at a path longer than the kernel takes.
const nest3000 = `
p=$(printf 'd/%.0s' $(seq 1000))
mkdir -p $p
: > ${p}bottom
for i in 1 2; do mkdir -p new/$p; mv d new/$p; mv new/d .; done
`

// levels counts the directories that are nested in dir.
func levels(t *testing.T, dir string) (count int, bottom unix.Stat_t) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer func() { unix.Close(at) }()
	for {
		next, err := unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		if errors.Is(err, unix.ENOENT) {
			must(t, unix.Fstatat(at, "bottom", &bottom, unix.AT_SYMLINK_NOFOLLOW))
			return count, bottom
		}
		must(t, err)
		unix.Close(at)
		at, count = next, count+1
	}
}

func TestTreesOfAnyDepthAreGivenAwayKeptAndRemoved(t *testing.T) {
	host := openHost(t)
	workspace := t.TempDir()
	t.Cleanup(func() { must(t, beneath.RemoveAll(workspace)) }) // os.RemoveAll, which would do it, runs out of descriptors
	step := script(t, "mkdir /deep; cd /deep; "+nest3000+"cd /workspace; "+nest3000)
	step.Workspace, step.WorkspaceOwner = workspace, &sandbox.Owner{UID: 1000, GID: 1000}
	step.Mounts = []sandbox.Mount{bind(workspace, "/workspace")}
	var upper string
	_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		must(t, s.Start(t.Context()))
		exit, err := s.Wait(t.Context(), sandbox.Stopping{})
		must(t, err)
		if exit.Code != 0 {
			t.Fatalf("exit code %d", exit.Code)
		}
		upper = s.LeaveRoot()
	})
	must(t, err)
	if count, bottom := levels(t, workspace); count != 3000 || bottom.Uid != 1000 {
		t.Errorf("the workspace has %d levels, the last file is of user %d", count, bottom.Uid)
	}
	must(t, host.Keep(upper, sandbox.Kept{Name: "deep", Step: *step}))
	all, err := sandbox.ListKept(filepath.Join(upper, "../../..")) // of ROOT/runs/ID/upper-1
	must(t, err)
	for _, kept := range all {
		if bytes, err := kept.Bytes(); err != nil || bytes < 3000 {
			t.Errorf("the kept step has %d bytes, %v", bytes, err)
		}
		must(t, kept.Remove())
	}
	if len(all) != 1 {
		t.Errorf("%d steps were kept", len(all))
	}
}

func TestReapRemovesTreesOfAnyDepth(t *testing.T) {
	root := t.TempDir()
	dead := filepath.Join(root, "runs", "aaaaaaaaaa")
	must(t, os.MkdirAll(filepath.Join(dead, "upper"), 0o700))
	at, err := unix.Open(filepath.Join(dead, "upper"), unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 30_000 {
		must(t, unix.Mkdirat(at, "d", 0o755))
		next, err := unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, errors.Join(err, unix.Close(at)))
		at = next
	}
	must(t, unix.Close(at))
	cleared, err := sandbox.Reap(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime()})
	if err != nil || len(cleared) != 1 {
		t.Errorf("cleared %q, %v", cleared, err)
	}
	if _, err := os.Lstat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

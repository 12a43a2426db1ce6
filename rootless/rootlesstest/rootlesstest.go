// Package rootlesstest runs tests a second time, as a user without root.
package rootlesstest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// UID is the user's id, which no machine has, and 65536 from FirstID on are its subordinate ones.
const (
	UID     = 54321
	FirstID = 1 << 30
)

// surroundings makes, for one process and what it starts, a machine that has the user: files of /etc with one line more
// and a /dev/net/tun that users may open. The machine itself stays as it is.
const surroundings = `set -e
for file in passwd group; do cat /etc/$file - > "$0/$file" <<end
stepexec-test:x:$ID:$ID::$0/home:/bin/sh
end
done
for file in subuid subgid; do echo "stepexec-test:$FIRST:65536" > "$0/$file"; done
for file in passwd group subuid subgid; do
	test -e /etc/$file && mount --bind "$0/$file" /etc/$file
done
mkdir -p -m 0711 /run/stepexec && mount -t tmpfs -o mode=0700 none /run/stepexec
if test -e /dev/net/tun; then
	mknod -m 666 "$0/tun" c 10 200 && mount --bind "$0/tun" /dev/net/tun
fi
exec setpriv --reuid $ID --regid $ID --clear-groups -- "$@"`

// Command is a command of that user, run in a directory of its own, with a home. The test has to be run by root.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	dir := Dir(t)
	script := append([]string{"-m", "--propagation", "private", "sh", "-c", surroundings, dir, name}, args...)
	cmd := exec.CommandContext(t.Context(), "unshare", script...)
	cmd.Dir = filepath.Join(dir, "home")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "XDG_") }),
		fmt.Sprint("ID=", UID), fmt.Sprint("FIRST=", FirstID),
		"USER=stepexec-test", "HOME="+cmd.Dir, "TMPDIR="+filepath.Join(dir, "tmp"))
	return cmd
}

// Dir is a new directory that the user may enter, with a home and a tmp that belong to it.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "stepexec-user-") // t.TempDir is below a directory of root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home", "tmp"} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, UID, UID); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Again runs the tests of the calling package as the user, all but the calling test and those that need root, with the
// reason why. Files are what the tests read of the repository, relative to the package's directory. Three failed tests at
// most run once more, alone: one that passes then is logged as flaky, as scripts/test.sh does it with other tests.
func Again(t *testing.T, needRoot map[string]string, files ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	skip := []string{exactly(t.Name())}
	for _, name := range slices.Sorted(maps.Keys(needRoot)) {
		t.Logf("%s: not without root: %s", name, needRoot[name])
		skip = append(skip, exactly(name))
	}
	files = append(files, program)
	out, err := asUser(t, here, files, "-test.skip", strings.Join(skip, "|"))
	failed := failedTests(out)
	if err != nil && !secondChance(out, failed) {
		t.Errorf("as a user without root: %v\n%s\nfailed as a user without root: %s",
			err, outputOfFailed(out), strings.Join(failed, ", "))
		return
	}
	ended := regexp.MustCompile(`(?m)^\s*--- (PASS|SKIP): .*$`).FindAllString(out, -1)
	t.Logf("as a user without root:\n%s", strings.Join(ended, "\n"))
	for _, name := range failed {
		again, err := asUser(t, here, files, "-test.run", exactly(name))
		if err != nil {
			t.Errorf("as a user without root, beside the other tests:\n%s\nand alone: %v\n%s\n"+
				"failed twice as a user without root: %s", outputOfFailed(out), err, outputOfFailed(again), name)
			continue
		}
		t.Logf("%s\nflaky, failed beside other tests and passed alone: %s as a user without root",
			outputOfFailed(out), name)
	}
}

// asUser runs the test program, the last of files, in a copy of what its tests read.
func asUser(t *testing.T, here string, files []string, args ...string) (string, error) {
	t.Helper()
	run := Command(t, "./test", append(args, "-test.v", "-test.timeout", "40m")...)
	// The tests find their files where they are in the repository.
	repository := filepath.Join(filepath.Dir(run.Dir), "tmp/repository")
	run.Dir = filepath.Join(repository, here)
	last := len(files) - 1
	copied(t, files[last], filepath.Join(run.Dir, "test"))
	for _, file := range files[:last] {
		copied(t, file, filepath.Join(run.Dir, file))
	}
	out, err := run.CombinedOutput()
	return string(out), err
}

// exactly is the pattern of -test.run and -test.skip for one test or subtest.
func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

func copied(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-r", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", from, err, out)
	}
	owner := fmt.Sprintf("%d:%d", UID, UID)
	if out, err := exec.CommandContext(t.Context(), "chown", "-R", owner, to).CombinedOutput(); err != nil {
		t.Fatalf("give %s to the user: %v: %s", to, err, out)
	}
}

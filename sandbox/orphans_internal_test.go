package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOrphansAreWhatTheRunWasCallingAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "abcdefghij")
	other := dir + "k"
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for _, c := range []struct {
		name string
		args []string
		env  []string
		attr *syscall.SysProcAttr
		want bool
	}{
		{"a call of the runtime", []string{"--root", runtimeRoot(dir), "create"}, nil, nil, true},
		{"a CNI plugin", nil, []string{"CNI_CONTAINERID=stepexec-abcdefghij"}, nil, true},
		{"a call for another run", []string{"--root", runtimeRoot(other), "create"}, nil, nil, false},
		{"a plugin of another run", nil, []string{"CNI_CONTAINERID=stepexec-abcdefghijk"}, nil, false},
		{"a file of the run in an editor", []string{filepath.Join(runtimeRoot(dir), "x")}, nil, nil, false},
		{"another user's program with the same words", []string{"--root", runtimeRoot(dir)}, nil, nobody, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.Command("sh", append([]string{"-c", "echo; read line", "sh"}, c.args...)...)
			command.Env, command.SysProcAttr, command.Dir = append(c.env, "PATH=/usr/bin:/bin"), c.attr, "/"
			in, err := command.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil { // now the program is what it is
				t.Fatal(err)
			}
			found, err := orphans(dir)
			if err != nil {
				t.Fatal(err)
			}
			if (len(found) > 0) != c.want {
				t.Errorf("%d orphans found", len(found))
			}
			closeFDs(found)
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
			_ = command.Wait() // read found no line
		})
	}
}

func TestKillingAGroupEndsWhatIsInItAndBelowIt(t *testing.T) {
	trees, err := listHierarchies()
	if err != nil {
		t.Fatal(err)
	}
	tree := trees[0]
	for _, other := range trees {
		if other.unified {
			tree = other
		}
	}
	dir := filepath.Join(t.TempDir(), "runs", "killedrun2")
	group := filepath.Join(tree.mountpoint, "stepexec-killedrun2-1")
	below := filepath.Join(group, "below")
	for _, path := range []string{group, below} {
		if err := unix.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Rmdir(path) }) // when it is left
	}
	command := exec.Command("sleep", "1000")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	procs := filepath.Join(below, "cgroup.procs")
	if err := os.WriteFile(procs, []byte(strconv.Itoa(command.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // says that it was killed
	}()
	if err := killProcesses(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the process lives")
	}
	if err := removeGroups(dir); err != nil {
		t.Fatal(err)
	}
	if err := unix.Access(group, unix.F_OK); err == nil {
		t.Error("left behind: the group")
	}
}

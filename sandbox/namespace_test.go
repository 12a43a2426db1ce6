package sandbox_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/sandbox"
)

// holdNamespaces starts a process in new namespaces, which live as long as the
// test does, and returns its folder in /proc.
func holdNamespaces(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("unshare", "-n", "-p", "-i", "-u", "-C", "-U", "-m", "--fork", "--kill-child", "--mount-proc", "-r",
		"sh", "-c", "hostname joined; ip link set lo up; cat /proc/1/stat >/dev/null; echo ready; read x")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	ready := make([]byte, 6)
	if _, err := stdout.Read(ready); err != nil || string(ready) != "ready\n" {
		t.Fatalf("got %q, %v", ready, err)
	}
	children, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/task/" + strconv.Itoa(cmd.Process.Pid) + "/children")
	must(t, err)
	return filepath.Join("/proc", strings.Fields(string(children))[0], "ns")
}

func TestStepJoinsNamespaces(t *testing.T) {
	held := holdNamespaces(t)
	host := openHost(t)
	for name, file := range map[string]string{"network": "net", "net": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"} {
		t.Run(name, func(t *testing.T) {
			want, err := os.Readlink(filepath.Join(held, file))
			must(t, err)
			step := script(t, "readlink /proc/self/ns/"+file)
			step.Advanced.Namespaces = map[string]string{name: filepath.Join(held, file)}
			if stdout, stderr, _ := output(t, host, step); stdout != want+"\n" {
				t.Errorf("namespace %q, %q, want %q", stdout, stderr, want)
			}
		})
	}
}

func TestHostnameOfAJoinedNamespaceStays(t *testing.T) {
	held := holdNamespaces(t)
	step := script(t, "hostname")
	step.Advanced.Namespaces = map[string]string{"uts": filepath.Join(held, "uts")}
	if stdout, stderr, _ := output(t, openHost(t), step); stdout != "joined\n" {
		t.Errorf("output %q, %q", stdout, stderr)
	}
}

func TestNothingOfAStepStaysInAJoinedProcessNamespace(t *testing.T) {
	held := holdNamespaces(t)
	step := script(t, "sleep 87654 & echo started")
	step.Advanced.Namespaces = map[string]string{"pid": filepath.Join(held, "pid")}
	if stdout, stderr, _ := output(t, openHost(t), step); stdout != "started\n" {
		t.Errorf("output %q, %q", stdout, stderr)
	}
	if left, err := exec.Command("pgrep", "-x", "-f", "sleep 87654").Output(); err == nil {
		t.Errorf("left behind: processes %s", left)
	}
}

func TestAStepThatJoinsProcessesAndCannotBeCreatedIsAnError(t *testing.T) {
	runtime := filepath.Join(t.TempDir(), "runtime")
	must(t, os.WriteFile(runtime, []byte("#!/bin/sh\nexit 1\n"), 0o755))
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: runtime})
	must(t, err)
	defer func() { must(t, host.Close()) }()
	step := script(t, "true")
	step.Advanced.Namespaces = map[string]string{"pid": filepath.Join(holdNamespaces(t), "pid")}
	if _, err := host.Prepare(t.Context(), step); err == nil || !strings.Contains(err.Error(), "create container") {
		t.Errorf("got %v", err)
	}
}

func TestPrepareRefusesNamespacesThatCannotBeJoined(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, exec.Command("mkfifo", fifo).Run())
	host, root := openHost(t), []string{busybox(t)}
	for name, test := range map[string]struct {
		change func(*sandbox.Step)
		join   map[string]string
		want   string
	}{
		"mount":               {nil, map[string]string{"mount": "/proc/self/ns/mnt"}, "join mount namespace /proc/self/ns/mnt: not possible: the step's root file system is mounted"},
		"user":                {nil, map[string]string{"user": "/proc/self/ns/user"}, "join user namespace /proc/self/ns/user: not possible: the files of the step's image"},
		"unknown type":        {nil, map[string]string{"time": "/proc/self/ns/time"}, "unknown type (network, pid, ipc, uts or cgroup)"},
		"other type":          {nil, map[string]string{"pid": "/proc/self/ns/net"}, "join pid namespace /proc/self/ns/net: it is a namespace of another type"},
		"no such file":        {nil, map[string]string{"pid": "/no/such"}, "no such file"},
		"no namespace file":   {nil, map[string]string{"pid": "/etc/passwd"}, "it is no namespace file"},
		"FIFO":                {nil, map[string]string{"pid": fifo}, "it is no namespace file"},
		"two of a type":       {nil, map[string]string{"net": "/proc/self/ns/net", "network": "/proc/self/ns/net"}, "the step joins two of that type"},
		"private network too": {func(s *sandbox.Step) { s.Network = sandbox.NetworkPrivate }, map[string]string{"net": "/proc/self/ns/net"}, "the step also sets network: private"},
		"name of its own too": {func(s *sandbox.Step) { s.Names.Hostname = "own" }, map[string]string{"uts": "/proc/self/ns/uts"}, "the step also sets hostname"},
	} {
		t.Run(name, func(t *testing.T) {
			step := &sandbox.Step{ID: "1", Lowerdirs: root, Entrypoint: []string{"true"}, Advanced: sandbox.Advanced{Namespaces: test.join}}
			if test.change != nil {
				test.change(step)
			}
			_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
}

package sandbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// busybox makes a root directory out of Debian's static busybox.
func busybox(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bin", "etc", "tmp", "root", "home/builder"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chown(filepath.Join(dir, "home/builder"), 1000, 1000))
	out, err := exec.Command("cp", "/bin/busybox", filepath.Join(dir, "bin/busybox")).CombinedOutput()
	if err != nil {
		t.Fatalf("copy busybox (package busybox-static): %v: %s", err, out)
	}
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	must(t, err)
	for applet := range strings.Lines(string(applets)) {
		if applet = strings.TrimSpace(applet); applet != "busybox" {
			must(t, os.Symlink("busybox", filepath.Join(dir, "bin", applet)))
		}
	}
	write(t, filepath.Join(dir, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nbuilder:x:1000:1000::/home/builder:/bin/sh\nwrap:x:4294967296:0::/:/bin/sh\n")
	write(t, filepath.Join(dir, "etc/group"), "root:x:0:\nbuilder:x:1000:\ntools:x:1500:builder\n")
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// openHost opens a Host and checks, when the test ends, that it leaves no
// mount and no directory of the run.
func openHost(t *testing.T) *sandbox.Host {
	t.Helper()
	root := t.TempDir()
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), SystemdCgroup: bySystemd(), RuntimeCalls: byCalls()})
	must(t, err)
	t.Cleanup(func() {
		must(t, host.Close())
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(root))
		must(t, err)
		left, err := os.ReadDir(filepath.Join(root, "runs"))
		must(t, err)
		cgroups, err := filepath.Glob("/sys/fs/cgroup/*/stepexec-" + host.ID() + "*")
		must(t, err)
		if len(mounts) > 0 || len(left) > 0 || len(cgroups) > 0 {
			t.Errorf("left behind: mounts %v, directories %v, cgroups %v", mounts, left, cgroups)
		}
	})
	return host
}

// script is a step that runs text with busybox's shell.
func script(t *testing.T, text string) *sandbox.Step {
	return &sandbox.Step{
		ID: "1", Image: "busybox", Lowerdirs: []string{busybox(t)},
		Script: []byte(text), Shell: []string{"/bin/sh", "-e"},
	}
}

// output runs a step to its end and returns what it wrote.
func output(t *testing.T, host *sandbox.Host, step *sandbox.Step) (stdout, stderr string, exit sandbox.Exit) {
	t.Helper()
	out, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		must(t, s.Start(t.Context()))
		var err error
		exit, err = s.Wait(t.Context(), sandbox.Stopping{})
		must(t, err)
	})
	must(t, err)
	return out[0], out[1], exit
}

// runStep prepares a step, hands it to use and removes it.
func runStep(t *testing.T, host *sandbox.Host, step *sandbox.Step, use func(*sandbox.Sandbox)) (out [2]string, err error) {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		files[i], err = os.Create(filepath.Join(t.TempDir(), "out"))
		must(t, err)
		defer files[i].Close()
	}
	step.Stdout, step.Stderr = files[0], files[1]
	s, err := host.Prepare(t.Context(), step)
	if err != nil {
		return out, err
	}
	use(s)
	must(t, s.Remove())
	for i, file := range files {
		_, err := file.Seek(0, io.SeekStart)
		must(t, err)
		data, err := io.ReadAll(file)
		must(t, err)
		out[i] = string(data)
	}
	return out, nil
}

func TestStepRunsItsScriptAndReportsHowItEnded(t *testing.T) {
	tests := []struct {
		name, script   string
		stdout, stderr string
		code           int
	}{
		{"success", "echo out; echo err >&2", "out\n", "err\n", 0},
		{"own exit code", "exit 42", "", "", 42},
		{"a failing command ends the script", "false\necho after", "", "", 1},
		{"missing command", "nope 2>/dev/null", "", "", 127},
		{"killed by a signal", "kill -SEGV $$; sh -c 'kill -9 $$'", "", "Killed\n", 137},
		{"stdin is empty", "cat; read x || echo end", "end\n", "", 0},
		{"no newline at the end", "printf last", "last", "", 0},
		{"background process does not hold the step", "sleep 1000 & echo done", "done\n", "", 0},
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, exit := output(t, host, script(t, test.script))
			if stdout != test.stdout || stderr != test.stderr || exit.Code != test.code {
				t.Errorf("got %q, %q, code %d; want %q, %q, code %d", stdout, stderr, exit.Code, test.stdout, test.stderr, test.code)
			}
		})
	}
}

func TestStepSeesItsImageItsUserAndItsEnvironment(t *testing.T) {
	tests := []printing{
		{"root by default", "id -u; echo $HOME; pwd", nil, "0\n/root\n/\n"},
		{"user by name, with its groups", "id -u; id -g; id -G; echo $HOME", func(s *sandbox.Step) { s.User = "builder" }, "1000\n1000\n1000 1500\n/home/builder\n"},
		{"image's user", "id -u", func(s *sandbox.Step) { s.Config.User = "builder" }, "1000\n"},
		{"step's user over image's", "id -u", func(s *sandbox.Step) { s.Config.User = "builder"; s.User = "0" }, "0\n"},
		{"unknown number", "id -u; id -g; echo $HOME", func(s *sandbox.Step) { s.User = "4711:12" }, "4711\n12\n/\n"},
		{"step's variables over image's", "echo $A $B $C", func(s *sandbox.Step) {
			s.Config.Env = []string{"A=image", "B=image"}
			s.Env = []string{"B=step", "C=x=y z"}
		}, "image step x=y z\n"},
		{"own HOME", "echo $HOME", func(s *sandbox.Step) { s.Env = []string{"HOME=/elsewhere"} }, "/elsewhere\n"},
		{"default PATH", "echo $PATH", nil, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"},
		{"directory is made", "pwd", func(s *sandbox.Step) { s.Directory = "/made/for/it" }, "/made/for/it\n"},
		{"image's directory", "pwd", func(s *sandbox.Step) { s.Config.WorkingDir = "/tmp" }, "/tmp\n"},
		{"service names", "grep -c 'db$' /etc/hosts", func(s *sandbox.Step) { s.Peers = []sandbox.Peer{{Names: []string{"db"}}} }, "1\n"},
		{"secret file", "cat /run/secrets/key; stat -c '%a %u' /run/secrets/key; (: > /run/secrets/x) 2>/dev/null || echo read-only", func(s *sandbox.Step) {
			s.User = "builder"
			s.Secrets = []sandbox.Secret{{Path: "/run/secrets/key", Value: []byte("value\n")}}
		}, "value\n400 1000\nread-only\n"},
		{"private process namespace", "echo $$", nil, "1\n"},
		{"no new privileges, seccomp, default capabilities", "grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd|CapInh|CapAmb):' /proc/self/status | tr -s '\\t' ' '", nil,
			"CapInh: 0000000000000000\nCapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\n"},
		{"masked and read-only paths", "wc -c < /proc/keys; ls /sys/firmware | wc -l; (echo 1 > /proc/sys/kernel/sysrq) 2>/dev/null || echo ro", nil, "0\n0\nro\n"},
		{"no stray descriptors", "ls /proc/self/fd | tr '\\n' ' '", nil, "0 1 2 3 "},
		{"no network", "ls /sys/class/net; grep -c . /etc/resolv.conf || true", func(s *sandbox.Step) { s.Network = sandbox.NetworkNone }, "lo\n0\n"},
		{"tmpfs", "grep -o 'tmpfs /scratch .*size=1024k' /proc/mounts | cut -d' ' -f2", func(s *sandbox.Step) {
			s.Mounts = []sandbox.Mount{{Type: "tmpfs", Destination: "/scratch", Options: []string{"size=1m"}}}
		}, "/scratch\n"},
		{"devices", "head -c 4 /dev/zero | wc -c; echo > /dev/null; (mknod /tmp/k c 1 2 && cat /tmp/k) >/dev/null 2>&1 || echo denied", nil, "4\ndenied\n"},
		{"privileged", "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t' ' '; test -w /proc/sys/kernel/hostname && echo rw", func(s *sandbox.Step) { s.Security.Privileged = true },
			"NoNewPrivs: 0\nSeccomp: 0\nrw\n"},
	}
	assertPrints(t, tests)
}

// printing is what a script prints in a step, which succeeds.
type printing struct {
	name, script string
	change       func(*sandbox.Step)
	want         string
}

func assertPrints(t *testing.T, tests []printing) {
	t.Helper()
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, test.script)
			if test.change != nil {
				test.change(step)
			}
			stdout, stderr, exit := output(t, host, step)
			if diff := cmp.Diff(test.want, stdout); diff != "" || exit.Code != 0 {
				t.Errorf("code %d, stderr %q, output (-want +got):\n%s", exit.Code, stderr, diff)
			}
		})
	}
}

func TestStepUsesTheHostsNetworkByDefault(t *testing.T) {
	want, err := os.Readlink("/proc/thread-self/ns/net") // a test may have left the first thread in another
	must(t, err)
	got, _, _ := output(t, openHost(t), script(t, "readlink /proc/self/ns/net"))
	if strings.TrimSpace(got) != want {
		t.Errorf("network namespace %s, want the host's %s", got, want)
	}
}

func TestBindMountsReachTheHost(t *testing.T) {
	shared, fixed := t.TempDir(), t.TempDir()
	write(t, filepath.Join(fixed, "in"), "from the host\n")
	made := filepath.Join(t.TempDir(), "not/there/yet")
	step := script(t, "cat /fixed/in > /shared/out; (: > /fixed/x) 2>/dev/null || echo read-only; : > /made/file")
	step.Mounts = []sandbox.Mount{
		{Type: "bind", Source: shared, Destination: "/shared", Options: []string{"rbind", "rw"}},
		{Type: "bind", Source: fixed, Destination: "/fixed", Options: []string{"rbind", "ro"}},
		{Type: "bind", Source: made, Destination: "/made", Options: []string{"rbind", "rw"}, Create: true},
	}
	stdout, _, exit := output(t, openHost(t), step)
	if exit.Code != 0 || stdout != "read-only\n" {
		t.Errorf("code %d, output %q", exit.Code, stdout)
	}
	got, err := os.ReadFile(filepath.Join(shared, "out"))
	must(t, err)
	if string(got) != "from the host\n" {
		t.Errorf("the shared folder holds %q", got)
	}
	if _, err := os.Stat(filepath.Join(made, "file")); err != nil {
		t.Error(err)
	}
}

func TestStepCannotChangeItsImage(t *testing.T) {
	step := script(t, "echo changed > /etc/passwd; rm /bin/wget; : > /new")
	_, _, exit := output(t, openHost(t), step)
	if exit.Code != 0 {
		t.Fatalf("exit code %d", exit.Code)
	}
	passwd, err := os.ReadFile(filepath.Join(step.Lowerdirs[0], "etc/passwd"))
	must(t, err)
	_, newErr := os.Stat(filepath.Join(step.Lowerdirs[0], "new"))
	_, oldErr := os.Lstat(filepath.Join(step.Lowerdirs[0], "bin/wget"))
	if strings.Contains(string(passwd), "changed") || newErr == nil || oldErr != nil {
		t.Error("the image's own files were changed")
	}
}

func TestPreparedSandboxCanBeRemovedWithoutRunning(t *testing.T) {
	step := script(t, "echo ran")
	out, err := runStep(t, openHost(t), step, func(*sandbox.Sandbox) {})
	must(t, err)
	if out != [2]string{} {
		t.Errorf("it ran: %q", out)
	}
}

func TestConfigIsGoneOnceTheContainerExists(t *testing.T) {
	host := openHost(t)
	step := script(t, "true")
	step.Env = []string{"TOKEN=hunter2-hunter2"}
	_, err := runStep(t, host, step, func(*sandbox.Sandbox) {
		dir, err := host.Dir(step.ID)
		must(t, err)
		if found := filesWith(t, filepath.Dir(dir), "hunter2-hunter2"); len(found) > 0 {
			t.Errorf("the environment is in %v", found)
		}
	})
	must(t, err)
}

// filesWith returns the regular files below dir that contain the text, except for those of mounted
// root file systems.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "rootfs":
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	}))
	return found
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	_, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: "no-such-runtime"})
	if !errors.Is(err, sandbox.ErrNoRuntime) || !strings.Contains(err.Error(), "--runtime") {
		t.Errorf("got %v", err)
	}
}

// TestStepRunsWhereTheKernelRefusesOverlays has its state root on an overlay, over
// which the kernel mounts no other.
func TestStepRunsWhereTheKernelRefusesOverlays(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "root"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	root := filepath.Join(dir, "root")
	must(t, unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)))
	defer unix.Unmount(root, unix.MNT_DETACH)
	var warned []string
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), Warn: func(line string) { warned = append(warned, line) }})
	must(t, err)
	for range 2 { // what the first one writes, the second does not see
		stdout, _, exit := output(t, host, script(t, "test ! -e /bin/made; echo > /bin/made; mount | grep -c ' / '; stat -c %u /home/builder"))
		if stdout != "1\n1000\n" || exit.Code != 0 {
			t.Errorf("exit code %d, output %q", exit.Code, stdout)
		}
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "images are copied for every step") {
		t.Errorf("warnings: %q", warned)
	}
	must(t, host.Close())
	if left, err := os.ReadDir(filepath.Join(root, "runs")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStateOfTheRuntimeIsWhereItIsAskedFor(t *testing.T) {
	state := filepath.Join(t.TempDir(), "made", "state")
	must(t, os.MkdirAll(filepath.Join(state, "somebody-else"), 0o700))
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: testRuntime(), RuntimeRoot: state})
	must(t, err)
	_, err = runStep(t, host, script(t, "exit 3"), func(s *sandbox.Sandbox) {
		runtime := testRuntime()
		if runtime == "" {
			runtime = "runc"
		}
		out, err := exec.Command(runtime, "--root", state, "state", host.ID()+"-1").CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"created"`) {
			t.Errorf("%s state: %v: %s", runtime, err, out)
		}
		must(t, s.Start(t.Context()))
		exit, err := s.Wait(t.Context(), sandbox.Stopping{})
		must(t, err)
		if exit.Code != 3 {
			t.Errorf("exit code %d", exit.Code)
		}
	})
	must(t, err)
	must(t, host.Close())
	left, err := os.ReadDir(state)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "somebody-else" {
		t.Errorf("left behind: in the runtime's root %v", left)
	}
}

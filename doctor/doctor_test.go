package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/doctor"
	"github.com/stepexec/stepexec/sandbox"
)

// machine is this one, with a state root of its own, and files of /proc, /sys
// and /etc that are those of files.
func machine(t *testing.T, files map[string]string) *doctor.Machine {
	t.Helper()
	m := doctor.New(t.TempDir(), "runc")
	m.Container = func(context.Context) error { return nil }
	m.Settings = func() error { return nil }
	if files == nil {
		return m
	}
	m.Files = t.TempDir()
	for name, text := range files {
		path := filepath.Join(m.Files, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// result is what one check has found.
func result(t *testing.T, m *doctor.Machine, name string) doctor.Result {
	t.Helper()
	for _, r := range m.Examine(t.Context()) {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no check is called %s", name)
	return doctor.Result{}
}

const (
	v2Mounts     = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	hybridMounts = "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)

func TestFindings(t *testing.T) {
	user := func(m *doctor.Machine) { m.UID, m.User = 1000, "alice" }
	without := func(names ...string) func(*doctor.Machine) {
		return func(m *doctor.Machine) {
			m.LookPath = func(name string) (string, error) {
				for _, not := range names {
					if name == not {
						return "", errors.New(name + " is not there")
					}
				}
				return "/bin/" + name, nil
			}
		}
	}
	tests := []struct {
		name, check string
		files       map[string]string
		change      []func(*doctor.Machine)
		state       doctor.State
		detail      string // a part of it
		remedy      string // a part of it
	}{
		{name: "cgroup v2", check: "cgroups", files: map[string]string{"proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids"},
			state: doctor.OK, detail: "v2 with memory, pids, cpu, cpuset, io; steps start faster after: mount -o remount,favordynmods"},
		{name: "cgroup v2 with favordynmods", check: "cgroups", files: map[string]string{"proc/self/mountinfo": strings.TrimSpace(v2Mounts) + ",favordynmods\n", "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids"},
			state: doctor.OK, detail: "v2 with memory, pids, cpu, cpuset, io"},
		{name: "cgroup v2 without controllers", check: "cgroups", files: map[string]string{"proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/cgroup.controllers": "hugetlb cpu"},
			state: doctor.Warn, detail: "v2 without memory, pids, cpuset, io: such limits are refused", remedy: "echo +memory +pids +cpuset +io > /sys/fs/cgroup/cgroup.subtree_control"},
		{name: "hybrid", check: "cgroups", files: map[string]string{"proc/self/mountinfo": hybridMounts, "sys/fs/cgroup/unified/cgroup.controllers": "hugetlb"},
			state: doctor.Warn, detail: "v1 and v2 (hybrid) without pids, cpu, cpuset, io"},
		{name: "no cgroups", check: "cgroups", files: map[string]string{"proc/self/mountinfo": "1 2 0:1 / / rw - ext4 /dev/vda rw\n"},
			state: doctor.Fail, detail: "no cgroups are mounted", remedy: "mount -t cgroup2"},
		{name: "cgroups of a user", check: "cgroups", change: []func(*doctor.Machine){user},
			files: map[string]string{"proc/self/mountinfo": v2Mounts, "proc/self/cgroup": "0::/user.slice/run.scope\n", "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids", "sys/fs/cgroup/user.slice/cgroup.controllers": "memory pids", "sys/fs/cgroup/user.slice/cgroup.procs": ""},
			state: doctor.OK, detail: "this user's /user.slice has memory pids"},
		{name: "cgroups not delegated", check: "cgroups", change: []func(*doctor.Machine){user},
			files: map[string]string{"proc/self/mountinfo": v2Mounts, "proc/self/cgroup": "0::/user.slice/run.scope\n", "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids", "sys/fs/cgroup/user.slice/cgroup.controllers": "", "sys/fs/cgroup/user.slice/cgroup.procs": ""},
			state: doctor.Warn, detail: "limits are ignored", remedy: "systemd-run --user --scope -p Delegate=yes"},

		{name: "no user namespaces, root", check: "user namespaces", files: map[string]string{}, state: doctor.Warn, detail: "the kernel has none"},
		{name: "no user namespaces, user", check: "user namespaces", files: map[string]string{}, change: []func(*doctor.Machine){user}, state: doctor.Fail, detail: "the kernel has none"},
		{name: "their number is 0", check: "user namespaces", change: []func(*doctor.Machine){user}, files: map[string]string{"proc/self/ns/user": "", "proc/sys/user/max_user_namespaces": "0\n"},
			state: doctor.Fail, detail: "max_user_namespaces is 0", remedy: "sysctl -w user.max_user_namespaces="},
		{name: "Debian's switch", check: "user namespaces", change: []func(*doctor.Machine){user}, files: map[string]string{"proc/self/ns/user": "", "proc/sys/kernel/unprivileged_userns_clone": "0\n"},
			state: doctor.Fail, detail: "unprivileged_userns_clone is 0", remedy: "sysctl -w kernel.unprivileged_userns_clone=1"},
		{name: "Debian's switch is not for root", check: "user namespaces", files: map[string]string{"proc/self/ns/user": "", "proc/sys/kernel/unprivileged_userns_clone": "0\n"}, state: doctor.OK},
		{name: "Ubuntu's switch", check: "user namespaces", change: []func(*doctor.Machine){user}, files: map[string]string{"proc/self/ns/user": "", "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"},
			state: doctor.Fail, detail: "AppArmor restricts", remedy: "apparmor_restrict_unprivileged_userns=0"},

		{name: "subordinate ids by name and number", check: "subordinate ids", change: []func(*doctor.Machine){user, without()},
			files: map[string]string{"etc/subuid": "bob:1:9\nalice:100000:65536\n", "etc/subgid": "1000:100000:30000\n1000:200000:40000\n"}, state: doctor.OK},
		{name: "too few subordinate ids", check: "subordinate ids", change: []func(*doctor.Machine){user, without()}, files: map[string]string{"etc/subuid": "alice:100000:1000\nalice:x\n"},
			state: doctor.Fail, detail: "user alice has 1000 in /etc/subuid and 0 in /etc/subgid", remedy: "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice"},
		{name: "no newuidmap", check: "subordinate ids", change: []func(*doctor.Machine){user, without("newuidmap")}, state: doctor.Fail, detail: "newuidmap not found", remedy: "apt-get install uidmap"},
		{name: "root needs no subordinate ids", check: "subordinate ids", change: []func(*doctor.Machine){without("newuidmap")}, state: doctor.OK},

		{name: "no binfmt_misc", check: "other platforms", files: map[string]string{}, state: doctor.OK, detail: " alone: "},
		{name: "no handlers", check: "other platforms", files: map[string]string{"proc/sys/fs/binfmt_misc/status": "enabled\n", "proc/sys/fs/binfmt_misc/python3": "enabled\ninterpreter /usr/bin/python3\nflags: \noffset 0\nmagic cb0d0d0a\n"},
			state: doctor.OK, detail: "no handlers for programs of other architectures"},
		{name: "handlers", check: "other platforms", state: doctor.OK,
			files: map[string]string{
				"proc/sys/fs/binfmt_misc/status":       "enabled\n",
				"proc/sys/fs/binfmt_misc/qemu-riscv64": "enabled\ninterpreter /usr/libexec/qemu-binfmt/riscv64-binfmt-P\nflags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200f300\nmask ffffffffffffff00fffffffffffffffffeffffff\n",
				"proc/sys/fs/binfmt_misc/qemu-s390x":   "enabled\ninterpreter /usr/bin/qemu-s390x\nflags: OC\noffset 0\nmagic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n",
				"proc/sys/fs/binfmt_misc/qemu-arm":     "disabled\ninterpreter /usr/bin/qemu-arm\nflags: F\noffset 0\nmagic 7f454c4601010100000000000000000002002800\nmask ffffffffffffff00fffffffffffffffffeffffff\n",
			},
			detail: "by binfmt_misc: arm (qemu-arm, disabled), riscv64 (qemu-riscv64), s390x (qemu-s390x, not in steps: it lacks the flag F)"},
		{name: "handlers switched off", check: "other platforms", state: doctor.OK, detail: "the handlers of binfmt_misc are disabled",
			files: map[string]string{"proc/sys/fs/binfmt_misc/status": "disabled\n"}},

		{name: "no seccomp", check: "seccomp", files: map[string]string{}, state: doctor.Fail, detail: "no seccomp filters"},
		{name: "seccomp", check: "seccomp", files: map[string]string{"proc/sys/kernel/seccomp/actions_avail": "kill_process trap errno log allow\n"}, state: doctor.OK},
		{name: "no security modules", check: "security modules", files: map[string]string{"sys/kernel/security/lsm": "lockdown,capability\n"}, state: doctor.OK, detail: "the key apparmor cannot be used"},
		{name: "AppArmor", check: "security modules", files: map[string]string{"sys/kernel/security/lsm": "capability,apparmor"}, state: doctor.OK, detail: "AppArmor: the key apparmor works"},
		{name: "SELinux", check: "security modules", files: map[string]string{"sys/kernel/security/lsm": "selinux", "sys/fs/selinux/enforce": "1"}, state: doctor.OK, detail: "SELinux (enforcing)"},

		{name: "no nftables", check: "private network", change: []func(*doctor.Machine){func(m *doctor.Machine) {
			m.Network = func(context.Context) error {
				return errors.New("private network: set up the router's filter: not supported")
			}
		}}, state: doctor.Warn, detail: "set up the router's filter", remedy: "modprobe nf_tables"},
		{name: "no pasta", check: "private network", change: []func(*doctor.Machine){user, without("pasta", "slirp4netns")}, state: doctor.Warn, detail: "neither pasta nor slirp4netns", remedy: "apt-get install passt"},

		{name: "no runtime", check: "runtime", change: []func(*doctor.Machine){without("runc")}, state: doctor.Fail, detail: "runc is not there", remedy: "apt-get install runc"},
		{name: "no runtime at all", check: "runtime", change: []func(*doctor.Machine){func(m *doctor.Machine) { m.Runtime = "false" }}, state: doctor.Fail, detail: "false --version: exit status 1"},
		{name: "settings", check: "settings", change: []func(*doctor.Machine){func(m *doctor.Machine) { m.Settings = func() error { return errors.New("f:1:2: bad") } }}, state: doctor.Fail, detail: "f:1:2: bad"},
		{name: "container", check: "container", change: []func(*doctor.Machine){func(m *doctor.Machine) {
			m.Container = func(context.Context) error { return errors.New("does not start") }
		}}, state: doctor.Fail, detail: "does not start"},

		{name: "state root is a file", check: "state root", change: []func(*doctor.Machine){func(m *doctor.Machine) { m.Root = "/etc/passwd" }}, state: doctor.Fail, detail: "no directory"},
		{name: "state root of another", check: "state root", change: []func(*doctor.Machine){func(m *doctor.Machine) { _ = os.Chown(m.Root, 65534, 0) }}, state: doctor.Warn, detail: "belongs to user 65534", remedy: "chown 0 "},
		{name: "state root for all", check: "state root", change: []func(*doctor.Machine){func(m *doctor.Machine) { _ = os.Chmod(m.Root, 0o777) }}, state: doctor.Warn, detail: "has mode 0777", remedy: "chmod go-w "},
		{name: "state root that is not there yet", check: "state root", change: []func(*doctor.Machine){func(m *doctor.Machine) { m.Root += "/a/b" }}, state: doctor.OK, detail: "/a/b on "},
		{name: "state root in memory", check: "state root", change: []func(*doctor.Machine){func(m *doctor.Machine) { m.Root = "/dev/shm/a" }}, state: doctor.Warn, detail: "is on tmpfs"},
		{name: "state root on a read-only file system", check: "state root", change: []func(*doctor.Machine){func(m *doctor.Machine) { m.Root = "/proc/sys/a" }}, state: doctor.Fail},
		{name: "dead run", check: "leftovers", change: []func(*doctor.Machine){func(m *doctor.Machine) { _ = os.MkdirAll(m.Root+"/runs/dead", 0o700) }}, state: doctor.Warn, detail: "by runs that died: 1"},
		{name: "overlay on overlay's upper", check: "overlay", change: []func(*doctor.Machine){func(m *doctor.Machine) { m.Root = "/proc" }}, state: doctor.Warn},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := machine(t, test.files)
			for _, change := range test.change {
				change(m)
			}
			r := result(t, m, test.check)
			if r.State != test.state || !strings.Contains(r.Detail, test.detail) || !strings.Contains(r.Remedy, test.remedy) {
				t.Errorf("got %+v, want %s, %q, %q", r, test.state, test.detail, test.remedy)
			}
		})
	}
}

func TestThisMachineRunsStepsAndNothingIsLeft(t *testing.T) {
	m := machine(t, nil)
	m.Root = filepath.Join(m.Root, "not", "yet")
	if err := os.Mkdir(filepath.Dir(m.Root), 0o700); err != nil {
		t.Fatal(err)
	}
	m.Container = func(ctx context.Context) error {
		return doctor.RunContainer(ctx, sandbox.Options{Root: m.Root})
	}
	results := m.Examine(t.Context())
	if !doctor.Works(results) {
		t.Errorf("got %+v", results)
	}
	left, err := os.ReadDir(filepath.Dir(m.Root))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestContainerThatCannotRunSaysWhy(t *testing.T) {
	err := doctor.RunContainer(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: "no-such-runtime"})
	if !errors.Is(err, sandbox.ErrNoRuntime) {
		t.Errorf("got %v", err)
	}
	falsePath, err := exec.LookPath("false")
	if err != nil {
		t.Fatal(err)
	}
	if err := doctor.RunContainer(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: falsePath}); err == nil {
		t.Error("no error with a runtime that does nothing")
	}
}

func TestPrint(t *testing.T) {
	results := []doctor.Result{{"kernel", doctor.OK, "Linux 6", ""}, {"runtime", doctor.Fail, "no <runc>", "apt-get install runc"}}
	var table, list bytes.Buffer
	if err := errors.Join(doctor.Print(&table, results), doctor.PrintJSON(&list, results)); err != nil {
		t.Fatal(err)
	}
	want := "ok    kernel   Linux 6\nfail  runtime  no <runc>\n               -> apt-get install runc\n"
	if diff := cmp.Diff(want, table.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	var got []doctor.Result
	if err := json.Unmarshal(list.Bytes(), &got); err != nil || !cmp.Equal(got, results) {
		t.Errorf("got %v, %v", got, err)
	}
	if doctor.Works(results) {
		t.Error("a machine with a failure works")
	}
}

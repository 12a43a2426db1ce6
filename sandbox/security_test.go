package sandbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

const showCapabilities = "grep -E '^Cap(Eff|Bnd):' /proc/self/status | tr -s '\\t' ' '"

// ownCapabilities is what this process can give to a step.
func ownCapabilities(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "CapBnd:\t")
	set, _, _ := strings.Cut(rest, "\n")
	return set
}

func TestCapabilitiesFollowDockersRules(t *testing.T) {
	const usual = 0xa80425fb
	var own uint64
	_, err := fmt.Sscanf(ownCapabilities(t), "%x", &own)
	must(t, err)
	netAdmin, netRaw, chown := uint64(1)<<unix.CAP_NET_ADMIN, uint64(1)<<unix.CAP_NET_RAW, uint64(1)<<unix.CAP_CHOWN
	tests := []struct {
		name     string
		security sandbox.Security
		want     uint64
	}{
		{"default", sandbox.Security{}, usual},
		{"added", sandbox.Security{CapAdd: []string{"NET_ADMIN"}}, usual | netAdmin},
		{"added with CAP_, in small letters, twice", sandbox.Security{CapAdd: []string{"CAP_NET_ADMIN", "net_admin"}}, usual | netAdmin},
		{"dropped", sandbox.Security{CapDrop: []string{"CAP_NET_RAW"}}, usual &^ netRaw},
		{"added wins over dropped", sandbox.Security{CapAdd: []string{"NET_RAW"}, CapDrop: []string{"NET_RAW"}}, usual},
		{"all dropped", sandbox.Security{CapDrop: []string{"ALL"}}, 0},
		{"all dropped but one", sandbox.Security{CapDrop: []string{"all"}, CapAdd: []string{"CHOWN"}}, chown},
		{"all added", sandbox.Security{CapAdd: []string{"ALL"}}, own},
		{"all added but one", sandbox.Security{CapAdd: []string{"ALL"}, CapDrop: []string{"NET_RAW"}}, own &^ netRaw},
		{"privileged drops nothing", sandbox.Security{Privileged: true, CapDrop: []string{"ALL"}}, own},
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, showCapabilities)
			step.Security = test.security
			got, stderr, _ := output(t, host, step)
			if want := fmt.Sprintf("CapEff: %016x\nCapBnd: %016[1]x\n", test.want); got != want {
				t.Errorf("got %s, want %s; %s", got, want, stderr)
			}
		})
	}
}

func TestSecuritySettingsAreCheckedBeforeAnythingRuns(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	tests := []struct {
		name     string
		security sandbox.Security
		want     string
	}{
		{"unknown capability", sandbox.Security{CapAdd: []string{"NETADMIN"}}, `cap_add "NETADMIN": there is no such capability (did you mean NET_ADMIN?)`},
		{"unknown capability dropped", sandbox.Security{CapDrop: []string{"SYS_PTRAC"}}, `did you mean SYS_PTRACE?`},
		{"capability unlike any", sandbox.Security{CapDrop: []string{"Q"}}, `see capabilities(7)`},
		{"seccomp file that is not there", sandbox.Security{Seccomp: "/no/such.json"}, "seccomp profile /no/such.json: no such file (use default, unconfined or the path"},
		{"seccomp file that is no JSON", sandbox.Security{Seccomp: file("yaml", "a: b")}, "not a profile in docker's JSON format"},
		{"seccomp file that filters nothing", sandbox.Security{Seccomp: file("empty", "{}")}, "it has no defaultAction"},
		{"seccomp file with a listener", sandbox.Security{Seccomp: file("notify", `{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/docker.sock"}`)}, "listenerPath is not supported"},
		{"device that is not there", sandbox.Security{Devices: []sandbox.Device{{Source: "/dev/nope"}}}, "device /dev/nope: no such device on the host"},
		{"file that is no device", sandbox.Security{Devices: []sandbox.Device{{Source: "/etc/passwd"}}}, "neither a device nor a directory that holds one"},
		{"directory without a device", sandbox.Security{Devices: []sandbox.Device{{Source: "/etc/apt"}}}, "neither a device nor"},
		{"relative device", sandbox.Security{Devices: []sandbox.Device{{Source: "kvm"}}}, "must be absolute"},
		{"device over the kernel's files", sandbox.Security{Devices: []sandbox.Device{{Source: "/dev/null", Destination: "/dev/../proc/self/attr/exec"}}}, "cannot be at"},
		{"device permissions", sandbox.Security{Devices: []sandbox.Device{{Source: "/dev/null", Permissions: "rx"}}}, `permissions "rx": must be of r`},
	}
	if _, err := os.Stat("/sys/module/apparmor"); err != nil {
		tests = append(tests, struct {
			name     string
			security sandbox.Security
			want     string
		}{"apparmor", sandbox.Security{AppArmor: "docker-default"}, "apparmor docker-default: this host's kernel runs without AppArmor"})
	}
	if own := ownCapabilities(t); own[len(own)-7] == '0' || own == "000001fffeffffff" {
		tests = append(tests, struct {
			name     string
			security sandbox.Security
			want     string
		}{"capability that we lack", sandbox.Security{CapAdd: []string{"SYS_RESOURCE"}}, "cap_add CAP_SYS_RESOURCE: stepexec itself does not have it"})
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, "true")
			step.Security = test.security
			_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestSecuritySettingsTakeEffect(t *testing.T) {
	const noMkdir = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}`
	profile := filepath.Join(t.TempDir(), "no-mkdir.json")
	write(t, profile, noMkdir)
	const status = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t' ' ' | tr '\\n' ' ';"
	tests := []printing{
		{"default profile", status + "unshare -m true 2>/dev/null || echo refused", nil, "NoNewPrivs: 1 Seccomp: 2 refused\n"},
		{"default by name", status, func(s *sandbox.Step) { s.Security.Seccomp = "default" }, "NoNewPrivs: 1 Seccomp: 2 "},
		{"default profile opens for a capability", "unshare -m true && echo works", func(s *sandbox.Step) { s.Security.CapAdd = []string{"SYS_ADMIN"} }, "works\n"},
		{"unconfined", status, func(s *sandbox.Step) { s.Security.Seccomp = "unconfined" }, "NoNewPrivs: 1 Seccomp: 0 "},
		{"profile of a file", status + "mkdir /x 2>&1 || true", func(s *sandbox.Step) { s.Security.Seccomp = profile },
			"NoNewPrivs: 1 Seccomp: 2 mkdir: can't create directory '/x': Operation not supported\n"},
		{"privileged with a profile of a file", status + "mkdir /x 2>/dev/null || echo refused", func(s *sandbox.Step) {
			s.Security.Privileged, s.Security.Seccomp = true, profile
		}, "NoNewPrivs: 0 Seccomp: 2 refused\n"},
		{"privileged with the default profile by name", status, func(s *sandbox.Step) {
			s.Security.Privileged, s.Security.Seccomp = true, "default"
		}, "NoNewPrivs: 0 Seccomp: 0 "},
		{"new privileges", status, func(s *sandbox.Step) { s.Security.AllowNewPrivileges = true }, "NoNewPrivs: 0 Seccomp: 2 "},
		{"apparmor unconfined", "echo ran", func(s *sandbox.Step) { s.Security.AppArmor = "unconfined" }, "ran\n"},
		{"no core files", "ulimit -c; ulimit -H -c", nil, "0\n0\n"},
		{"non-root users have no capabilities", "grep -E '^CapBnd:' /proc/self/status | tr -s '\\t' ' '; grep -q '^CapEff:.0*$' /proc/self/status", func(s *sandbox.Step) {
			s.User, s.Security.CapAdd = "builder", []string{"NET_ADMIN"}
		}, "CapBnd: 00000000a80435fb\n"},
	}
	assertPrints(t, tests)
}

func TestReadOnlyRootLeavesMountsWritable(t *testing.T) {
	const probe = `
for f in /x /etc/x /etc/hosts /etc/resolv.conf /usr/x; do (: >> $f) 2>/dev/null && echo "$f is writable"; done
: > /dev/shm/x && : > /tmp/x && : > /workspace/x && echo > /dev/null && cat /run/secrets/key && pwd
id -u > /workspace/uid
`
	shared := t.TempDir()
	step := script(t, probe)
	step.Security.ReadOnly = true
	step.Directory = "/made/for/it"
	step.Mounts = []sandbox.Mount{
		{Type: "tmpfs", Destination: "/tmp"},
		{Type: "bind", Source: shared, Destination: "/workspace", Options: []string{"rbind", "rw"}},
	}
	step.Secrets = []sandbox.Secret{{Path: "/run/secrets/key", Value: []byte("value\n")}}
	got, stderr, exit := output(t, openHost(t), step)
	if got != "value\n/made/for/it\n" || exit.Code != 0 {
		t.Errorf("code %d, output %q, stderr %q", exit.Code, got, stderr)
	}
}

func TestReadOnlyRootOfAPrivilegedStepKeepsSysReadOnly(t *testing.T) {
	step := script(t, "grep -cE ' /sys [^ ]* *ro,' /proc/mounts; grep ' / overlay ro,' /proc/mounts | wc -l")
	step.Security.ReadOnly, step.Security.Privileged = true, true
	got, stderr, _ := output(t, openHost(t), step)
	if got != "1\n1\n" {
		t.Errorf("got %q, %s", got, stderr)
	}
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkdir(filepath.Join(dir, "sub"), 0o755))
	for name, minor := range map[string]uint32{"zero": 5, "sub/full": 7} {
		must(t, unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o600, int(unix.Mkdev(1, minor))))
		must(t, os.Chown(filepath.Join(dir, name), 0, 1500))
		must(t, os.Chmod(filepath.Join(dir, name), 0o660))
	}
	write(t, filepath.Join(dir, "file"), "no device")
	must(t, os.Symlink("zero", filepath.Join(dir, "link")))
	const kmsg = "head -c 0 /dev/fuse && echo read; (: > /dev/fuse) 2>/dev/null || echo cannot write"
	tests := []struct {
		name, script string
		devices      []sandbox.Device
		user         string
		want         string
	}{
		{"none by default", "ls /dev/fuse 2>/dev/null || echo none", nil, "", "none\n"},
		{"node", "head -c 0 /dev/fuse && echo works", []sandbox.Device{{Source: "/dev/fuse"}}, "", "works\n"},
		{"node to read", kmsg, []sandbox.Device{{Source: "/dev/fuse", Permissions: "r"}}, "", "read\ncannot write\n"},
		{"node elsewhere", "ls /dev/log9 && test ! -e /dev/fuse", []sandbox.Device{{Source: "/dev/fuse", Destination: "/dev/log9"}}, "", "/dev/log9\n"},
		{"link to a node keeps its name", "head -c 2 /dev/of/a/link | wc -c", []sandbox.Device{{Source: filepath.Join(dir, "link"), Destination: "/dev/of/a/link"}}, "", "2\n"},
		{"directory", "cd /dev/all; find . -type c | sort; test ! -e file && test ! -e link", []sandbox.Device{{Source: dir, Destination: "/dev/all"}}, "", "./sub/full\n./zero\n"},
		{"mode and group are the host's", "head -c 2 /dev/z | wc -c; stat -c '%a %g' /dev/z", []sandbox.Device{{Source: filepath.Join(dir, "zero"), Destination: "/dev/z"}}, "builder", "2\n660 1500\n"},
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := script(t, test.script)
			step.Security.Devices, step.User = test.devices, test.user
			got, stderr, exit := output(t, host, step)
			if got != test.want || exit.Code != 0 {
				t.Errorf("code %d, got %q, want %q; %s", exit.Code, got, test.want, stderr)
			}
		})
	}
}

const cdiSpec = `{
  "cdiVersion": "0.6.0", "kind": "example.com/gauge",
  "containerEdits": {"env": ["GAUGES=here"]},
  "devices": [
    {"name": "one", "containerEdits": {
      "deviceNodes": [{"path": "/dev/gauge1", "hostPath": "/dev/fuse"}],
      "mounts": [{"hostPath": "%s", "containerPath": "/opt/gauge", "options": ["ro", "rbind"]}]}},
    {"name": "two", "containerEdits": {"env": ["GAUGE=two"]}}
  ]}`

func TestCDIDevices(t *testing.T) {
	specs, library := t.TempDir(), t.TempDir()
	write(t, filepath.Join(library, "lib.so"), "library\n")
	write(t, filepath.Join(specs, "example.json"), fmt.Sprintf(cdiSpec, library))
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: testRuntime(), CDIDirs: []string{specs}})
	must(t, err)
	t.Cleanup(func() { must(t, host.Close()) })

	step := script(t, "echo $GAUGES $GAUGE; head -c 0 /dev/gauge1 && cat /opt/gauge/lib.so")
	step.Security.CDI = []string{"example.com/gauge=one", "example.com/gauge=two"}
	got, stderr, _ := output(t, host, step)
	if want := "here two\nlibrary\n"; got != want {
		t.Errorf("got %q, want %q; %s", got, want, stderr)
	}

	write(t, filepath.Join(specs, "broken.yaml"), "cdiVersion: 0.6.0\nkind: nonsense\n")
	step = script(t, "true")
	step.Security.CDI = []string{"example.com/gauge=three"}
	_, err = runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
	for _, want := range []string{
		"CDI device example.com/gauge=three: no such device (there are example.com/gauge=one, example.com/gauge=two)",
		"CDI specification " + filepath.Join(specs, "broken.yaml"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}
}

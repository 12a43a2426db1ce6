package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func parse(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// admit holds one step of a plan with a workspace against a policy.
func admit(p *policy.Policy, step pipeline.PlannedStep, workspace string) (pipeline.PlannedStep, error) {
	plan := &pipeline.Plan{WorkspaceSource: workspace, WorkspacePath: "/workspace", Dir: "/", Steps: []pipeline.PlannedStep{step}}
	admitted, err := p.Admit(plan, policy.Origin{Way: policy.Run, Caches: "/var/lib/stepexec/caches"})
	if err != nil {
		return step, err
	}
	return admitted.Plan().Steps[0], nil
}

func bind(source string, write bool) pipeline.PlannedStep {
	mode := "ro"
	if write {
		mode = "rw"
	}
	return pipeline.PlannedStep{Mounts: []pipeline.Mount{{Type: "bind", Source: source, Destination: "/x", Options: []string{"rbind", mode}}}}
}

func secure(s pipeline.Security) pipeline.PlannedStep { return pipeline.PlannedStep{Security: s} }

func TestBuiltInPolicies(t *testing.T) {
	dir := t.TempDir()
	harmless := bind(dir+"/cache", true)
	harmless.Name, harmless.Image, harmless.Network, harmless.Security.Seccomp = "build", "alpine", "private", "default"
	everything := bind("/etc", false)
	everything.Name, everything.Image, everything.Network, everything.Keep = "build", "rootfs:/", "host", true
	everything.Stdin, everything.Output, everything.Timeout = "/etc/shadow", "/etc/cron.d/x", time.Hour
	everything.Mounts = append(everything.Mounts, pipeline.Mount{Type: pipeline.MountCache, Source: "go", Destination: "/go"})
	everything.Mounts = append(everything.Mounts, pipeline.Mount{Type: pipeline.MountKeyed, Source: "deps", Destination: "/deps"})
	everything.Names.Ports = []pipeline.Port{{HostIP: "0.0.0.0", Host: 8080, Container: 80, Protocol: "tcp"}}
	everything.Limits.Pids = 4_000_000
	everything.Security = pipeline.Security{
		Privileged: true, CapAdd: []string{"SYS_ADMIN", "MKNOD"}, Seccomp: "unconfined", AppArmor: "unconfined", AllowNewPrivileges: true,
		Devices: []pipeline.Device{{Source: "/dev/null"}}, CDI: []string{"nvidia.com/gpu=all"}, UIDMap: []pipeline.IDMap{{Size: 1}},
	}
	everything.Advanced = pipeline.Advanced{
		SpecPatch: []byte("{}"), Namespaces: map[string]string{"pid": "/proc/1/ns/pid"}, CgroupParent: "/system.slice", PidFile: "/etc/pid",
		Labels: map[string]string{"io.katacontainers.config.hypervisor.kernel": "x"},
	}
	if _, err := admit(policy.Trusted(), everything, ""); err != nil {
		t.Errorf("trusted: %v", err)
	}
	if _, err := admit(policy.Untrusted(), harmless, dir); err != nil {
		t.Errorf("untrusted: %v", err)
	}
	_, err := admit(policy.Untrusted(), everything, "")
	var denials policy.Denials
	if !errors.As(err, &denials) {
		t.Fatal("untrusted allows everything")
	}
	var keys []string
	for _, d := range denials {
		keys = append(keys, d.Key)
	}
	want := []string{
		"privileged", "image", "mounts[0]", "cache", "cache", "stdin", "output", "devices", "devices", "network", "ports", "cap_add", "cap_add", "cgroup_parent",
		"seccomp", "apparmor", "allow_new_privileges", "uidmap", "spec_patch", "keep", "namespaces", "labels", "pid_file", "pids",
	}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("denied keys (-want +got):\n%s", diff)
	}
}

const file = `# what pipelines of this machine may do
mounts:
  - /usr/share
  - {path: /var/tmp, write: true}
privileged_images: [plugins/docker, registry.example.com/ci/*, "localhost:5000/tools/**", "ghcr.io/org/kaniko:1.2", quay.io/a/b@sha256:` + digest + `]
networks: [host, none]
devices: [/dev/null, /dev/shm, nvidia.com/gpu, example.com/gauge=one]
capabilities: [SYS_PTRACE, cap_net_admin]
host_environment: [HTTP_PROXY]
cgroup_parents: [/ci]
seccomp: true
apparmor: true
allow_new_privileges: true
keep: true
spec: true
namespaces: true
images: {allow: ["docker.io/**", "ghcr.io/**", quay.io/a/b, "localhost:5000/**", "registry.example.com/**"], deny: ["evil/*"]}
pull: always
ports: ["127.0.0.1:8000-8999"]
labels: [dev.gvisor.*]
limits: {cpus: 2, memory: 1g, pids: 100, tmpfs: 64m, shm_size: 64m, output_limit: 1m, artifacts: 10m, cache: 1g, timeout: 1h, cpu_shares: 1024, io_weight: 200, cpuset_cpus: "0-3,8", cpuset_mems: "0", ulimits: {nofile: 4096, memlock: unlimited, rtprio: 0}}
`

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestPolicyFileDecides(t *testing.T) {
	p := parse(t, file)
	image := func(name string) pipeline.PlannedStep {
		return pipeline.PlannedStep{Image: name, Security: pipeline.Security{Privileged: true}}
	}
	path := bind
	privileged := func(change func(*pipeline.PlannedStep)) pipeline.PlannedStep {
		step := image("plugins/docker")
		change(&step)
		return step
	}
	limited := func(change func(*pipeline.Limits)) pipeline.PlannedStep {
		step := pipeline.PlannedStep{}
		change(&step.Limits)
		return step
	}
	ulimit := func(name string, soft, hard int64) func(*pipeline.Limits) {
		return func(l *pipeline.Limits) { l.Ulimits = []pipeline.Ulimit{{Name: name, Soft: soft, Hard: hard}} }
	}
	advanced := func(a pipeline.Advanced) pipeline.PlannedStep { return pipeline.PlannedStep{Advanced: a} }
	published := func(address string, port int) pipeline.PlannedStep {
		step := pipeline.PlannedStep{}
		step.Names.Ports = []pipeline.Port{{HostIP: address, Host: port, Container: 80, Protocol: "tcp"}}
		return step
	}
	const asItIs = "with privileged is not allowed: a privileged image runs as it is (policy.yml:5:1: privileged_images)"
	tests := []struct {
		name string
		step pipeline.PlannedStep
		want string // "": allowed
	}{
		{"below a path", path("/usr/share/doc", false), ""},
		{"the path itself, with a slash", path("/usr/share/", false), ""},
		{"writing where only reading is allowed", path("/usr/share/doc", true), "step s: mounts[0]: /usr/share/doc is not allowed: it may only be read (policy.yml:2:1: mounts)"},
		{"writing", path("/var/tmp/new/dir", true), ""},
		{"a path that begins alike", path("/usr/shared", false), "below none of the paths there"},
		{"up and out", path("/usr/share/../../etc", false), "it is /etc, which is below none"},
		{"up and out of what is not there", path("/usr/share/nope/../../../etc", false), "does not exist"},
		{"relative", path("usr/share", false), "not an absolute path"},

		{"image by its short name", image("plugins/docker"), ""},
		{"with a tag", image("docker.io/plugins/docker:20"), ""},
		{"with a digest", image("plugins/docker@sha256:" + digest), ""},
		{"of another registry", image("evil.example.com/plugins/docker"), "step s: privileged: image evil.example.com/plugins/docker is not allowed: it is not an image that may be privileged (policy.yml:5:1: privileged_images)"},
		{"of a longer name", image("plugins/docker-evil"), "privileged_images"},
		{"below a name", image("plugins/docker/evil"), "privileged_images"},
		{"directory of the host", image("rootfs:/plugins/docker"), "privileged_images"},
		{"star", image("registry.example.com/ci/x:1"), ""},
		{"star stops at a slash", image("registry.example.com/ci/x/y"), "privileged_images"},
		{"two stars do not", image("localhost:5000/tools/x/y"), ""},
		{"two stars need something", image("localhost:5000/tools"), "privileged_images"},
		{"tag", image("ghcr.io/org/kaniko:1.2"), ""},
		{"another tag", image("ghcr.io/org/kaniko:1.3"), "privileged_images"},
		{"digest", image("quay.io/a/b@sha256:" + digest), ""},
		{"tag in place of a digest", image("quay.io/a/b:sha256"), "privileged_images"},
		{"image of a folder with that name", image("oci:plugins/docker"), "privileged_images"},
		{"image of an archive with that name", image("docker-archive:plugins/docker"), "privileged_images"},
		{"its registry's other names", image("index.docker.io/plugins/docker"), ""},
		{"tag and another digest", image("ghcr.io/org/kaniko:1.2@sha256:" + digest), "privileged_images"},
		{"privileged image with commands", privileged(func(s *pipeline.PlannedStep) { s.Script = []byte("x") }), "step s: commands: " + asItIs},
		{"with entrypoint", privileged(func(s *pipeline.PlannedStep) { s.Entrypoint = []string{"x"} }), "entrypoint: " + asItIs},
		{"with args", privileged(func(s *pipeline.PlannedStep) { s.Args = []string{} }), "args: " + asItIs},
		{"with a variable", privileged(func(s *pipeline.PlannedStep) { s.Authored = []string{"CI_X"} }), "environment: " + asItIs},
		{"with a setting as a variable", privileged(func(s *pipeline.PlannedStep) { s.Authored = []string{"PLUGIN_X"} }), ""},
		{"with a secret file", privileged(func(s *pipeline.PlannedStep) { s.SecretFiles = []pipeline.SecretFile{{}} }), "secrets: " + asItIs},
		{"with a user", privileged(func(s *pipeline.PlannedStep) { s.User = "x" }), "user: " + asItIs},
		{"with an input", privileged(func(s *pipeline.PlannedStep) { s.Stdin = "/usr/share/x" }), "stdin: " + asItIs},
		{"with a terminal", privileged(func(s *pipeline.PlannedStep) { s.Advanced.TTY = true }), "tty: " + asItIs},
		{"with a probe", privileged(func(s *pipeline.PlannedStep) { s.Ready = &pipeline.Ready{Exec: []string{"x"}} }), "ready: " + asItIs},
		{"with a mount", privileged(func(s *pipeline.PlannedStep) { s.Mounts = bind("/usr/share", false).Mounts }), "mounts: " + asItIs},
		{"with a tmpfs", privileged(func(s *pipeline.PlannedStep) { s.Mounts = []pipeline.Mount{{Type: "tmpfs", Destination: "/bin"}} }), "mounts: " + asItIs},
		{"in the workspace", privileged(func(s *pipeline.PlannedStep) { s.Directory = "/workspace/x" }), ""},
		{"out of the workspace", privileged(func(s *pipeline.PlannedStep) { s.Directory = "/workspace/../bin" }), "directory: " + asItIs},
		{"any image that is not privileged", pipeline.PlannedStep{Image: "evil", Script: []byte("x")}, ""},

		{"network", pipeline.PlannedStep{Network: "private"}, "step s: network: private is not allowed: it is not in the list (policy.yml:6:1: networks)"},
		{"device", secure(pipeline.Security{Devices: []pipeline.Device{{Source: "/dev/null"}}}), ""},
		{"device by its link", secure(pipeline.Security{Devices: []pipeline.Device{{Source: "/proc/self/root/dev/null"}}}), ""},
		{"other device", secure(pipeline.Security{Devices: []pipeline.Device{{Source: "/dev/zero"}}}), "policy.yml:7:1: devices"},
		{"link that leads out", secure(pipeline.Security{Devices: []pipeline.Device{{Source: "/dev/shm/../zero"}}}), "policy.yml:7:1: devices"},
		{"kind of CDI device", secure(pipeline.Security{CDI: []string{"nvidia.com/gpu=all"}}), ""},
		{"name of a CDI device", secure(pipeline.Security{CDI: []string{"example.com/gauge=one"}}), ""},
		{"other CDI device", secure(pipeline.Security{CDI: []string{"example.com/gauge=two"}}), "devices: example.com/gauge=two is not allowed"},
		{"capabilities", secure(pipeline.Security{CapAdd: []string{"CAP_SYS_PTRACE", "net_admin"}}), ""},
		{"other capability", secure(pipeline.Security{CapAdd: []string{"SYS_ADMIN"}}), "policy.yml:8:1: capabilities"},
		{"all capabilities", secure(pipeline.Security{CapAdd: []string{"ALL"}}), "cap_add: ALL"},
		{"cgroup", advanced(pipeline.Advanced{CgroupParent: "/ci/x"}), ""},
		{"other cgroup", advanced(pipeline.Advanced{CgroupParent: "/ci/../system.slice"}), "cgroup_parent: /ci/../system.slice"},
		{"seccomp", secure(pipeline.Security{Seccomp: "unconfined", AppArmor: "x", AllowNewPrivileges: true}), ""},
		{"profile", secure(pipeline.Security{Seccomp: "/etc/passwd"}), "seccomp: /etc/passwd is not allowed: it is below none"},
		{"flags", advanced(pipeline.Advanced{Spec: []byte("{}"), Namespaces: map[string]string{"pid": "/x"}}), ""},
		{"ids", secure(pipeline.Security{GIDMap: []pipeline.IDMap{{Host: 1, Size: 2}}}), "gidmap: 0:1:2 is not allowed"},
		{"label of a runtime", advanced(pipeline.Advanced{Labels: map[string]string{"dev.gvisor.spec.x": "y"}}), ""},
		{"label of another runtime", advanced(pipeline.Advanced{Labels: map[string]string{"Io.KataContainers.x": "y"}}), "labels: Io.KataContainers.x=y is not allowed"},
		{"label", advanced(pipeline.Advanced{Labels: map[string]string{"org.example.x": "y"}}), ""},

		{"image that is allowed", pipeline.PlannedStep{Image: "registry.example.com/x:1"}, ""},
		{"image that is denied", pipeline.PlannedStep{Image: "docker.io/evil/x:1"}, "image: docker.io/evil/x:1 is not allowed: it is in the list of those that are denied"},
		{"image that is denied, in capitals", pipeline.PlannedStep{Image: "DOCKER.io:443/evil/x:1"}, "in the list of those that are denied"},
		{"image that is not allowed", pipeline.PlannedStep{Image: "quay.io/x"}, "image: quay.io/x is not allowed: it is not in the list of those that are allowed"},
		{"pull", pipeline.PlannedStep{Pull: pipeline.PullNever}, "pull: never is not allowed: every image is pulled by the policy always"},
		{"port", published("127.0.0.1", 8080), ""},
		{"port of the loopback, which is the default", published("", 8080), ""},
		{"port of the loopback by another name", published("::ffff:127.0.0.1", 8080), ""},
		{"port out of range", published("127.0.0.1", 9000), "ports: 127.0.0.1:9000:80/tcp is not allowed"},
		{"port of every address", published("0.0.0.0", 8080), "ports: 0.0.0.0:8080:80/tcp is not allowed"},
		{"port of every address of both kinds", published("::", 8080), "ports: :::8080:80/tcp is not allowed"},

		{"cpus", limited(func(l *pipeline.Limits) { l.CPUs = 2.5 }), "cpus: 2.5 CPUs is not allowed: the most is 2 CPUs"},
		{"cpus as a quota", limited(func(l *pipeline.Limits) { l.CPUQuota, l.CPUPeriod = 30_000, 10_000 }), "cpu_quota: 3 CPUs"},
		{"cpus as a quota of the usual period", limited(func(l *pipeline.Limits) { l.CPUQuota = 200_000 }), ""},
		{"memory", limited(func(l *pipeline.Limits) { l.Memory = 2 << 30 }), "memory: 2GiB is not allowed: the most is 1GiB"},
		{"swap", limited(func(l *pipeline.Limits) { l.MemorySwap = -1 }), "memory_swap: without limit is not allowed: the most is 2GiB"},
		{"endless pids", limited(func(l *pipeline.Limits) { l.Pids = -1 }), "pids: without limit is not allowed: the most is 100"},
		{"weight", limited(func(l *pipeline.Limits) { l.CPUShares = 2048 }), "cpu_shares: 2048 is not allowed: the most is 1024"},
		{"weight of disks", limited(func(l *pipeline.Limits) { l.IOWeight = 1000 }), "io_weight: 1000 is not allowed: the most is 200"},
		{"lesser weights", limited(func(l *pipeline.Limits) { l.CPUShares, l.IOWeight = 2, 200 }), ""},
		{"some CPUs", limited(func(l *pipeline.Limits) { l.CpusetCPUs = "1,2-3,8" }), ""},
		{"other CPUs", limited(func(l *pipeline.Limits) { l.CpusetCPUs = "2-4" }), "cpuset_cpus: 2-4 is not allowed: the most is 0-3,8"},
		{"no list of CPUs", limited(func(l *pipeline.Limits) { l.CpusetCPUs = "0-99999999" }), "cpuset_cpus: 0-99999999 is not allowed"},
		{"other memory nodes", limited(func(l *pipeline.Limits) { l.CpusetMems = "1" }), "cpuset_mems: 1 is not allowed: the most is 0"},
		{"ulimit", limited(ulimit("nofile", 4096, 4096)), ""},
		{"higher ulimit", limited(ulimit("nofile", 1024, 4097)), "ulimits: nofile=4097 is not allowed: the most is nofile=4096"},
		{"endless ulimit", limited(ulimit("nofile", 1024, -1)), "ulimits: nofile=unlimited is not allowed: the most is nofile=4096"},
		{"endless ulimit that may be", limited(ulimit("memlock", -1, -1)), ""},
		{"ulimit that must be none", limited(ulimit("rtprio", 0, 99)), "ulimits: rtprio=99 is not allowed: the most is rtprio=0"},
		{"ulimit without ceiling", limited(ulimit("nproc", 1, -1)), ""},
		{"pids", limited(func(l *pipeline.Limits) { l.Pids = 4_000_000 }), "pids: 4000000 is not allowed: the most is 100"},
		{"shm", limited(func(l *pipeline.Limits) { l.ShmSize = 1 << 40 }), "shm_size: 1TiB is not allowed"},
		{"output", pipeline.PlannedStep{OutputLimit: 1 << 40}, "output_limit: 1TiB"},
		{"artifacts", pipeline.PlannedStep{Artifacts: []pipeline.Artifact{{MaxSize: 1 << 20}, {MaxSize: 1 << 30}}}, "artifacts: 1GiB is not allowed: the most is 10MiB"},
		{"keyed cache", pipeline.PlannedStep{Mounts: []pipeline.Mount{{Type: pipeline.MountKeyed, Source: "deps"}}}, "cache: deps is not allowed: what it saves stays on the machine"},
		{"size of a keyed cache", pipeline.PlannedStep{Caches: []pipeline.KeyedCache{{}, {MaxSize: 2 << 30}}}, "cache: 2GiB is not allowed: the most is 1GiB"},
		{"timeout", pipeline.PlannedStep{Timeout: 2 * time.Hour}, "timeout: 2h is not allowed: the most is 1h"},
		{"tmpfs", pipeline.PlannedStep{Mounts: []pipeline.Mount{{Type: "tmpfs", Options: []string{"size=50%"}}}}, "mounts[0]: size=50% is not allowed"},
		{"tmpfs in blocks", pipeline.PlannedStep{Mounts: []pipeline.Mount{{Type: "tmpfs", Options: []string{"nr_blocks=9"}}}}, "mounts[0]: nr_blocks=9 is not allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.step.Name = "s"
			if test.step.Network == "" {
				test.step.Network = "host"
			}
			if test.step.Image == "" {
				test.step.Image = "alpine"
			}
			_, err := admit(p, test.step, "")
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestEmptyPolicyAllowsNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "{}\n", "null\n"} {
		step := secure(pipeline.Security{Seccomp: "unconfined"})
		step.Name, step.Image, step.Network = "s", "alpine", "host"
		_, err := admit(parse(t, text), step, "")
		if want := "step s: network: host is not allowed: it is not in the list (policy policy.yml has no networks)\nstep s: seccomp:"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// Links do not fool the rules, neither those of the path nor those of the rule.
func TestHostPathFollowsLinksBeforeItDecides(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"real/allowed/sub", "secret", "workspace/sub"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"rule": "real/allowed", "real/allowed/out": dir + "/secret", "real/allowed/in": "sub", "in": "real/allowed/sub",
		"real/allowed/dangling": "../../secret/new", "workspace/out": "../secret", "real/allowed/hop": "../../secret/..",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	p := parse(t, "mounts: [{path: "+dir+"/rule, write: true}]\nnetworks: [none]")
	for path, want := range map[string]string{
		"rule":                  "real/allowed",
		"rule/sub":              "real/allowed/sub",
		"real/allowed/in":       "real/allowed/sub",
		"in":                    "real/allowed/sub",
		"rule/new/deep":         "real/allowed/new/deep",
		"rule/sub/../sub":       "real/allowed/sub",
		"rule/../allowed":       "real/allowed", // as the kernel reads it
		"rule/out":              "",
		"rule/out/new":          "",
		"rule/hop/secret":       "",
		"rule/dangling":         "",
		"rule/dangling/x":       "",
		"rule/../../secret":     "",
		"rule/..":               "",
		"secret":                "",
		"workspace":             "workspace",
		"workspace/sub":         "workspace/sub",
		"workspace/out":         "",
		"workspace/sub/../../x": "",
	} {
		if want != "" {
			want = filepath.Join(dir, want)
		}
		step := bind(dir+"/"+path, true)
		step.Image, step.Network = "alpine", "none"
		admitted, err := admit(p, step, filepath.Join(dir, "workspace"))
		if got := admitted.Mounts[0].Source; (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s is %q, %v; want %q", path, got, err, want)
		}
	}
	plan, err := p.Admit(&pipeline.Plan{}, policy.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "real/allowed")}, plan.Roots()); diff != "" {
		t.Errorf("roots: %s", diff)
	}
}

func TestParseSaysWhereAFileIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"limits: {cpu_shares: 1}\n":                  "p.yml:1:22: cpu_shares: must be a number from 2 to 262144",
		"limits: {io_weight: 1001}\n":                "p.yml:1:21: io_weight: must be a number from 10 to 1000",
		"limits: {cpuset_cpus: 3-1}\n":               `p.yml:1:23: cpuset_cpus: must be a list of numbers such as "0-3,8"`,
		"limits: {ulimits: {nofile: -2}}\n":          "p.yml:1:28: nofile: must be a number, or unlimited",
		"limits: {ulimits: {nofiles: 2}}\n":          `p.yml:1:20: unknown key "nofiles" (the keys are as, core, cpu,`,
		"mount: [/x]\n":                              `p.yml:1:1: unknown key "mount" (the keys are allow_new_privileges, apparmor, cache_stores, capabilities,`,
		"spec: true\nspec: false\n":                  "p.yml:2:1: spec: given twice",
		"spec: yes please\n":                         "p.yml:1:7: spec: must be true or false",
		"networks: host\n":                           "p.yml:1:11: networks: must be a list (write networks: [...])",
		"networks:\n  - hots\n":                      `p.yml:2:5: networks: "hots" is not a network: there are host, none and private`,
		"networks: [3]\n":                            "p.yml:1:12: networks: must be a string",
		"mounts: [relative]\n":                       `p.yml:1:10: mounts: "relative" is not an absolute path without .. in it`,
		"mounts: [/a/../b]\n":                        `"/a/../b" is not an absolute path without .. in it`,
		"mounts: [{write: true}]\n":                  "p.yml:1:10: mounts: has no path",
		"verify_images: {}\n":                        "p.yml:1:16: verify_images: want a list of rules",
		"verify_images: [{images: a/*}]\n":           "p.yml:1:17: verify_images: the rule needs either keys or unsigned: true",
		"mounts: [{path: /x, writable: true}]\n":     `unknown key "writable" (the keys are path, write)`,
		"capabilities: [SYS_ADMIM]\n":                `p.yml:1:16: capabilities: "SYS_ADMIM" is not a capability`,
		"devices: [kvm]\n":                           "neither an absolute path nor a CDI device",
		"privileged_images: [\"a[\"]\n":              "is not a pattern of images",
		"privileged_images: [\"\"]\n":                "is not a pattern of images",
		"host_environment: [A=b]\n":                  "is not the name of a variable",
		"- a\n":                                      "p.yml:1:1: must be a map of keys and values",
		"spec: true\n---\nspec: true\n":              "more than one document",
		"spec: [\n":                                  "p.yml:1:7: not valid YAML: the [ is not closed",
		"a: &a [*a]\n":                               "p.yml:1",
		"networks: [x]\nspec: maybe\ndevices: [y]\n": "p.yml:3:11",
		"repositories: {}\n":                         "p.yml:1:15: repositories: must be a list",
		"repositories: [{repos: [a/b]}]\n":           "p.yml:1:16: repositories: needs both repos and rules (write - {repos:",
		"repositories: [{rules: trusted}]\n":         "needs both repos and rules",
		"repositories: [{repos: [a/b], rules: {repositories: []}}]\n":              `unknown key "repositories"`,
		"repositories: [{repos: [a/b], rules: all}]\n":                             "p.yml:1:38: repositories: rules must be trusted, untrusted, or a map",
		"repositories: [{repos: [a/b], rules: {network: [host]}}]\n":               `p.yml:1:39: unknown key "network"`,
		"repositories: [{repos: [a/b], rules: trusted, event: [push]}]\n":          `unknown key "event" (the keys are branches, events, repos, rules)`,
		"repositories: [{repos: ['a/{b'], rules: trusted}]\n":                      `repos: "a/{b" is not a pattern`,
		"repositories: [{repos: [''], rules: trusted}]\n":                          "is not a pattern",
		"repositories: [{repos: [a/b], events: [pull-request], rules: trusted}]\n": `events: "pull-request" is not an event of Woodpecker or Drone`,
		"networks: *none\n":                          "p.yml:1:11: not valid YAML: no anchor &none",
		strings.Repeat("# a long comment\n", 70_000): "more than 1048576 bytes",
	} {
		p, err := policy.Parse("p.yml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || p != nil {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file)
	f.Add("mounts: [{path: /x, write: true}]\nnetworks: &n [host]\ndevices: *n\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse("p.yml", []byte(text))
		var errs policy.Errors
		if err != nil && !errors.As(err, &errs) {
			t.Errorf("the error is %T", err)
		}
		if p != nil {
			_, _ = admit(p, secure(pipeline.Security{Privileged: true, CDI: []string{"a/b=c"}}), "")
		}
	})
}

func FuzzImagePattern(f *testing.F) {
	f.Add("plugins/docker", "evil/plugins/docker")
	f.Fuzz(func(t *testing.T, pattern, image string) {
		if strings.ContainsAny(pattern, "*?[\\\"\n'") {
			return
		}
		p, err := policy.Parse("p.yml", []byte("privileged_images: [\""+pattern+"\"]"))
		if err != nil {
			return
		}
		_, err = p.AdmitStep(pipeline.PlannedStep{Image: image, Network: "none", Security: pipeline.Security{Privileged: true}}, policy.Origin{})
		var denials policy.Denials
		if errors.As(err, &denials) && len(denials) == 1 && !strings.Contains(image, pattern[strings.LastIndex(pattern, "/")+1:]) {
			t.Errorf("%q lets in %q", pattern, image)
		}
	})
}

package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

func TestBuiltInPolicies(t *testing.T) {
	harmless := policy.Request{Step: "build", Image: "alpine", Network: "private", Workspace: t.TempDir(), Seccomp: "default"}
	harmless.Paths = []policy.Path{{Key: "mounts[0]", Path: harmless.Workspace + "/cache", Write: true}}
	everything := policy.Request{
		Step: "build", Image: "alpine", Privileged: true, Overrides: []string{"commands"}, Network: "host",
		Paths:   []policy.Path{{Key: "mounts[0]", Path: "/etc"}, {Key: "image", Path: "/"}},
		Devices: []string{"/dev/null", "nvidia.com/gpu=all"}, CapAdd: []string{"SYS_ADMIN"}, Seccomp: "unconfined", AppArmor: "unconfined",
		AllowNewPrivileges: true, Spec: true, Keep: true, Namespaces: []string{"/proc/1/ns/net"}, CgroupParent: "/system.slice", HostEnvironment: []string{"TOKEN"},
	}
	if err := policy.Trusted().Check(everything); err != nil {
		t.Errorf("trusted: %v", err)
	}
	if err := policy.Untrusted().Check(harmless); err != nil {
		t.Errorf("untrusted: %v", err)
	}
	var denials policy.Denials
	if !errors.As(policy.Untrusted().Check(everything), &denials) {
		t.Fatal("untrusted allows everything")
	}
	var keys []string
	for _, d := range denials {
		keys = append(keys, d.Key)
	}
	want := []string{
		"privileged", "mounts[0]", "image", "devices", "devices", "network", "cap_add", "environment", "cgroup_parent",
		"seccomp", "apparmor", "allow_new_privileges", "spec", "keep", "namespaces",
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
`

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestPolicyFileDecides(t *testing.T) {
	p := parse(t, file)
	image := func(name string) policy.Request { return policy.Request{Image: name, Privileged: true} }
	path := func(name string, write bool) policy.Request {
		return policy.Request{Paths: []policy.Path{{Key: "mounts[2]", Path: name, Write: write}}}
	}
	tests := []struct {
		name    string
		request policy.Request
		want    string // "": allowed
	}{
		{"below a path", path("/usr/share/doc", false), ""},
		{"the path itself, with a slash", path("/usr/share/", false), ""},
		{"writing where only reading is allowed", path("/usr/share/doc", true), "step s: mounts[2]: /usr/share/doc is not allowed: it may only be read (policy.yml:2:1: mounts)"},
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
		{"privileged image with commands", policy.Request{Image: "plugins/docker", Privileged: true, Overrides: []string{"commands"}},
			"step s: commands: with privileged is not allowed: a privileged image runs as it is (policy.yml:5:1: privileged_images)"},
		{"any image that is not privileged", policy.Request{Image: "evil", Overrides: []string{"commands"}}, ""},

		{"network", policy.Request{Network: "private"}, "step s: network: private is not allowed: it is not in the list (policy.yml:6:1: networks)"},
		{"device", policy.Request{Devices: []string{"/dev/null"}}, ""},
		{"device by its link", policy.Request{Devices: []string{"/proc/self/root/dev/null"}}, ""},
		{"other device", policy.Request{Devices: []string{"/dev/zero"}}, "policy.yml:7:1: devices"},
		{"link that leads out", policy.Request{Devices: []string{"/dev/shm/../zero"}}, "policy.yml:7:1: devices"},
		{"kind of CDI device", policy.Request{Devices: []string{"nvidia.com/gpu=all"}}, ""},
		{"name of a CDI device", policy.Request{Devices: []string{"example.com/gauge=one"}}, ""},
		{"other CDI device", policy.Request{Devices: []string{"example.com/gauge=two"}}, "devices: example.com/gauge=two is not allowed"},
		{"capabilities", policy.Request{CapAdd: []string{"CAP_SYS_PTRACE", "net_admin"}}, ""},
		{"other capability", policy.Request{CapAdd: []string{"SYS_ADMIN"}}, "policy.yml:8:1: capabilities"},
		{"all capabilities", policy.Request{CapAdd: []string{"ALL"}}, "cap_add: ALL"},
		{"variable of the host", policy.Request{HostEnvironment: []string{"HTTP_PROXY"}}, ""},
		{"other variable of the host", policy.Request{HostEnvironment: []string{"HTTP_PROXY2"}}, "environment: HTTP_PROXY2"},
		{"cgroup", policy.Request{CgroupParent: "/ci/x"}, ""},
		{"other cgroup", policy.Request{CgroupParent: "/ci/../system.slice"}, "cgroup_parent: /ci/../system.slice"},
		{"flags", policy.Request{Seccomp: "unconfined", AppArmor: "x", AllowNewPrivileges: true, Spec: true, Keep: true, Namespaces: []string{"/x"}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.request.Step = "s"
			if test.request.Network == "" {
				test.request.Network = "host"
			}
			err := p.Check(test.request)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestEmptyPolicyAllowsNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "{}\n", "null\n"} {
		err := parse(t, text).Check(policy.Request{Step: "s", Network: "host", Seccomp: "unconfined"})
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
	p := parse(t, "mounts: [{path: "+dir+"/rule, write: true}]")
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
		got, err := p.HostPath(filepath.Join(dir, "workspace"), dir+"/"+path, true)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v; want %q", path, got, err, want)
		}
	}
	roots, err := p.Roots()
	if diff := cmp.Diff([]string{filepath.Join(dir, "real/allowed")}, roots); diff != "" || err != nil {
		t.Errorf("roots, %v: %s", err, diff)
	}
}

func TestParseSaysWhereAFileIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"mount: [/x]\n":                              `p.yml:1:1: unknown key "mount" (the keys are allow_new_privileges, apparmor, capabilities,`,
		"spec: true\nspec: false\n":                  "p.yml:2:1: spec: given twice",
		"spec: yes please\n":                         "p.yml:1:7: spec: must be true or false",
		"networks: host\n":                           "p.yml:1:11: networks: must be a list (write networks: [...])",
		"networks:\n  - hots\n":                      `p.yml:2:5: networks: "hots" is no network: there are host, none and private`,
		"networks: [3]\n":                            "p.yml:1:12: networks: must be a string",
		"mounts: [relative]\n":                       `p.yml:1:10: mounts: "relative" is no absolute path, or has .. in it`,
		"mounts: [/a/../b]\n":                        `"/a/../b" is no absolute path, or has .. in it`,
		"mounts: [{write: true}]\n":                  "p.yml:1:10: mounts: has no path",
		"mounts: [{path: /x, writable: true}]\n":     `unknown key "writable" (the keys are path, write)`,
		"capabilities: [SYS_ADMIM]\n":                `p.yml:1:16: capabilities: "SYS_ADMIM" is no capability`,
		"devices: [kvm]\n":                           "neither an absolute path nor a CDI device",
		"privileged_images: [\"a[\"]\n":              "is not a pattern of images",
		"privileged_images: [\"\"]\n":                "is not a pattern of images",
		"host_environment: [A=b]\n":                  "is not the name of a variable",
		"- a\n":                                      "p.yml:1:1: must be a map of keys and values",
		"spec: true\n---\nspec: true\n":              "more than one document",
		"spec: [\n":                                  "p.yml:1: not valid YAML",
		"a: &a [*a]\n":                               "p.yml:1",
		"networks: [x]\nspec: maybe\ndevices: [y]\n": "p.yml:3:11",
		"networks: *none\n":                          "not valid YAML: unknown anchor",
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
			_ = p.Check(policy.Request{Image: "alpine", Privileged: true, Devices: []string{"a/b=c"}})
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
		err = p.Check(policy.Request{Image: image, Privileged: true, Network: "none"})
		var denials policy.Denials
		if errors.As(err, &denials) && len(denials) == 1 && !strings.Contains(image, pattern[strings.LastIndex(pattern, "/")+1:]) {
			t.Errorf("%q lets in %q", pattern, image)
		}
	})
}

package drone_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline/drone"
)

// hostileNames are variables by which programs, shells, linkers and docker obey whoever sets
// them.
var hostileNames = []string{
	"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV", "ENV", "PATH", "HOME", "SHELLOPTS", "PS4", "IFS", "PYTHONPATH", "NODE_OPTIONS", "PERL5OPT", "RUBYOPT",
	"GIT_SSH_COMMAND", "GIT_EXEC_PATH", "DOCKER_HOST", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "HTTP_PROXY", "http_proxy", "TMPDIR", "GODEBUG", "GCONV_PATH",
}

// A plugin that is privileged by itself is so as it is, or not at all: a repository that is
// not trusted must not decide what it runs.
func TestPrivilegedPluginRunsAsItIs(t *testing.T) {
	const plugin = "kind: pipeline\nsteps:\n- {name: p, image: plugins/docker, settings: {repo: x}"
	with := func(keys string) string { return plugin + ", " + keys + "}\n" }
	at := func(workspace string) string { return "workspace: " + workspace + "\n" + plugin + "}\n" }
	tests := []struct {
		name, text string
		privileged bool
	}{
		{"as it is", plugin + "}\n", true},
		{"with a tag", strings.Replace(plugin, "docker,", "docker:20,", 1) + "}\n", true},
		{"in full", strings.Replace(plugin, "plugins/docker", "index.docker.io/plugins/docker:20", 1) + "}\n", true},
		{"with a working_dir inside", with("working_dir: sub"), true},
		{"with conditions", with("when: {branch: main}"), true},
		{"with the usual workspace", at("{base: /drone, path: src/app}"), true},

		{"commands", with("commands: [id]"), false},
		{"entrypoint", with("entrypoint: [/bin/sh]"), false},
		{"command", with("command: [--debug]"), false},
		{"volumes", "volumes: [{name: t, temp: {}}]\n" + with("volumes: [{name: t, path: /usr/local/bin}]"), false},
		{"no volumes, written", with("volumes: []"), false},
		{"another docker", with("environment: {DOCKER_HOST: tcp://elsewhere}"), false},
		{"another path", with("environment: {path: /drone/src}"), false},
		{"user", with("user: '1000'"), false},
		{"working_dir outside", with("working_dir: /usr/local/bin"), false},
		{"working_dir by dots", with("working_dir: /drone/src/../../usr"), false},
		{"workspace over programs", at("{path: /usr/local}"), false},
		{"workspace by dots", at("{base: /usr/local/bin, path: ../../../w}"), false},
		{"base over programs", at("{base: /usr/local, path: share/app}"), false},
		{"base by dots", at("{base: /drone/../usr/local, path: x}"), false},
		{"workspace beside", at("{path: /drone2}"), false},
		{"workspace at /go", at("{base: /go, path: src/app}"), false},

		{"another registry", strings.Replace(plugin, "plugins/docker", "evil.example.com/plugins/docker", 1) + "}\n", false},
		{"a longer name", strings.Replace(plugin, "plugins/docker", "plugins/docker-evil", 1) + "}\n", false},
		{"a layout of that name", strings.Replace(plugin, "plugins/docker", "'oci:plugins/docker'", 1) + "}\n", false},
		{"a folder of that name", strings.Replace(plugin, "plugins/docker", "'rootfs:/plugins/docker'", 1) + "}\n", false},
		{"a library image", strings.Replace(plugin, "plugins/docker", "docker", 1) + "}\n", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := push()
			o.Untrusted = true
			p := plan(t, test.text, o, nil)
			if got := p.Steps[0].Security.Privileged; got != test.privileged {
				t.Errorf("privileged: %v", got)
			}
		})
	}
}

// Whoever writes the file, starts the build or sets up the runner reaches it with settings
// alone.
func TestPrivilegedPluginGetsNoVariablesButTheServers(t *testing.T) {
	var lines []string
	params := map[string]string{"PLUGIN_PARAM": "evil", "DRONE_PARAM": "evil", "CI_PARAM": "evil", "DRONE_REPO": "evil", "CI": "evil", "param": "evil"}
	for _, name := range hostileNames {
		lines = append(lines, name+": evil")
		params[name] = "evil"
	}
	own := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { // with these it would not be privileged
		name, _, _ := strings.Cut(line, ":")
		return slices.Contains([]string{"PATH", "HOME", "DOCKER_HOST", "DOCKER_OPTS", "XDG_RUNTIME_DIR"}, name)
	})
	environment := "{" + strings.Join(append(own, "CI_OWN: evil", "DRONE_OWN: evil", "PLUGIN_OWN: own", "OWN: evil"), ", ") + "}"
	ofAll := "{" + strings.Join(append(lines, "CI_OWN: evil", "DRONE_OWN: evil", "PLUGIN_OWN: own", "OWN: evil"), ", ") + "}"
	text := "kind: pipeline\nenvironment: " + ofAll + "\nsteps:\n- {name: p, image: plugins/docker, settings: {repo: x}, environment: " + environment + "}\n- {name: other, image: busybox, commands: [env]}\n"
	o := push()
	o.Untrusted, o.Params = true, params
	for name := range maps.Keys(params) {
		o.Environ = append(o.Environ, name+"=evil")
	}
	o.Proxies = []string{"https_proxy=http://proxy:3128"} // which only the runner's own environment sets
	o.Netrc = &drone.Netrc{Machine: "git.example.com", Login: "bot", Password: "hunter2"}
	p := plan(t, text, o, nil)
	step := p.Steps[0]
	if !step.Security.Privileged {
		t.Fatal("the plugin is not privileged")
	}
	for _, entry := range step.Env {
		name, value, _ := strings.Cut(entry, "=")
		isServers := strings.HasPrefix(name, "DRONE_") || strings.HasPrefix(name, "CI_") || strings.HasPrefix(name, "STEPEXEC") || slices.Contains([]string{"CI", "DRONE"}, name)
		isServers = isServers || entry == o.Proxies[0]
		if value == "evil" || !isServers && !strings.HasPrefix(name, "PLUGIN_") {
			t.Errorf("it gets %s", entry)
		}
	}
	for name, want := range map[string]string{"PLUGIN_REPO": "x", "PLUGIN_OWN": "own", "DRONE_REPO": "example/app", "DRONE_NETRC_PASSWORD": "hunter2", "CI": "true", "https_proxy": "http://proxy:3128"} {
		if got := variable(step, name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	if other := p.Steps[1]; variable(other, "OWN") != "evil" || variable(other, "LD_PRELOAD") != "evil" || variable(other, "param") != "evil" {
		t.Errorf("another step gets %q", other.Env)
	}
}

// A rule with a tag or a digest lets in nothing else.
func TestRulesOfPrivilegedPluginsMatchWholeReferences(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for _, test := range []struct {
		rule, image string
		want        bool
	}{
		{"example/p", "example/p:2@" + digest, true},
		{"example/p:1", "example/p:1", true},
		{"example/p:1", "example/p:2", false},
		{"example/p:1", "example/p", false},
		{"example/p:1", "example/p:1@" + digest, false},
		{"example/p@" + digest, "example/p@" + digest, true},
		{"example/p@" + digest, "example/p", false},
		{"localhost:5000/p", "localhost:5000/p:1", true},
		{"localhost:5000/p", "p:1", false},
	} {
		o := push()
		o.PrivilegedImages = []string{test.rule}
		p := plan(t, "kind: pipeline\nsteps: [{name: p, image: '"+test.image+"'}]\n", o, nil)
		if got := p.Steps[0].Security.Privileged; got != test.want {
			t.Errorf("rule %s and image %s: %v", test.rule, test.image, got)
		}
	}
}

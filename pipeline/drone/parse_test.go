package drone_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/drone"
)

func push() drone.Options {
	b := pipeline.Build{Facts: pipeline.Facts{Branch: "main", Event: "push", Ref: "refs/heads/main", Repo: "example/app", Instance: "drone.example.com", Platform: "linux/amd64"}}
	b.Number, b.Commit, b.Message = 42, "0123456789abcdef0123456789abcdef01234567", "Say \"hello\"\n\nto all"
	b.Author = pipeline.Person{Login: "octocat", Name: "Octo Cat", Email: "octo@example.com"}
	b.Repository = pipeline.Repository{Owner: "example", Name: "app", CloneURL: "https://git.example.com/example/app.git", DefaultBranch: "main"}
	return drone.Options{Build: b}
}

func parse(t *testing.T, text string, o drone.Options) *pipeline.Set {
	t.Helper()
	set, err := drone.Parse(".drone.yml", []byte(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// one is a pipeline with a single step, whose keys are given.
func one(keys string) string {
	return "kind: pipeline\nvolumes: [{name: tmp, temp: {}}, {name: mem, temp: {medium: memory}}, {name: etc, host: {path: /srv}}]\nsteps:\n- {name: a, image: x, " + keys + "}\n"
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "# empty", ".drone.yml: the file has no pipeline (write kind: pipeline)"},
		{"no kind", "steps: []", ".drone.yml:1:1: kind: is required"},
		{"template", "kind: template\nload: x", ".drone.yml:1:7: kind: the server makes the pipelines from a template, which is not in this file (ask the server for what it makes of it)"},
		{"two of a name", "kind: pipeline\nsteps: [{name: a, image: x}]\n---\nkind: pipeline\nname: default\nsteps: [{name: a, image: x}]", `.drone.yml:5:7: name: there is a pipeline "default" already (give each a name of its own)`},
		{"slip", one("comands: [a]"), `.drone.yml:4:23: steps[0].comands: unknown key (did you mean "commands"?)`},
		{"string commands", one("commands: make"), ".drone.yml:4:33: steps[0].commands: must be a list, not a string (write it as a list: [make])"},
		{"no steps", "kind: pipeline", ".drone.yml:1:1: the pipeline has no steps"},
		{"no volume", one("volumes: [{name: nope, path: /x}]"), `.drone.yml:4:33: steps[0].volumes[0]: the pipeline has no volume "nope" (declare it under volumes)`},
		{"runner's folder", one("volumes: [{name: tmp, path: /run/drone/x}]"), ".drone.yml:4:33: steps[0].volumes[0]: linter: cannot mount volume at restricted path /run/drone/x"},
		{"runner's volume", "kind: pipeline\nvolumes: [{name: workspace, temp: {}}]\nsteps: [{name: a, image: x}]", ".drone.yml:2:11: volumes[0]: linter: invalid volume name: workspace (the runner uses it itself)"},
		{"substitution", "kind: pipeline\nsteps:\n- {name: a, image: x, commands: ['echo ${a[@]}']}", ".drone.yml:3:40: substitute ${…}: missing closing brace (write $${…} for what the shell is to see)"},
		{"substitution out of bounds", "kind: pipeline\n# ${CI:0:-1}", ".drone.yml:2:3: substitute ${…}: runtime error: slice bounds out of range [:-1] (write $${…} for what the shell is to see)"},
		{"itself", one("depends_on: [a]"), ".drone.yml:4:36: steps[0].depends_on[0]: linter: cyclical step dependency detected: a"},
		{"unknown pipeline", "kind: pipeline\nname: a\ndepends_on: [b]\nsteps: [{name: a, image: x}]", `.drone.yml: depends_on of pipeline a: pipeline "a" depends on "b", which is not there`},
		{"cycle", "kind: pipeline\nname: a\ndepends_on: [b]\nsteps: [{name: a, image: x}]\n---\nkind: pipeline\nname: b\ndepends_on: [a]\nsteps: [{name: a, image: x}]", ".drone.yml: depends_on of pipeline a: cycle: a → b → a"},
		{"secret without key", one("environment: {A: {from: x}}"), ".drone.yml:4:40: steps[0].environment.A.from_secret: is required"},
		{"pattern", one("when: {branch: '[a'}"), `.drone.yml:4:38: steps[0].when.branch: "[a" is not a pattern (the characters *, ?, [, ] and { are special; put \ in front of one that stands for itself)`},
		{"network", one("network_mode: container:x"), `.drone.yml:4:37: steps[0].network_mode: network_mode "container:x" is not supported (it may be host, none or bridge)`},
		{"size", one("mem_limit: much"), `.drone.yml:4:34: steps[0].mem_limit: "much" is not a size (write it like 512m, 1g or a number of bytes)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := drone.Parse(".drone.yml", []byte(test.text), push())
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

// Only trusted repositories may use what touches the host.
func TestUntrustedRepositories(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{one("privileged: true"), "enable privileged mode"},
		{one("devices: [{name: etc, path: /dev/x}]"), "mount devices"},
		{one("dns: [192.0.2.1]"), "configure dns"},
		{one("dns_search: [example.org]"), "configure dns_search"},
		{one("extra_hosts: ['a:192.0.2.1']"), "configure extra_hosts"},
		{one("network_mode: host"), "configure network_mode"},
		{one("shm_size: 1g"), "configure shm_size"},
		{one("pull: always"), ""},
	} {
		o := push()
		o.Untrusted = true
		_, err := drone.Parse("f", []byte(test.text), o)
		for _, want := range []string{"mount host volumes", "mount in-memory volumes", test.want} {
			if err == nil || want != "" && !strings.Contains(err.Error(), "linter: untrusted repositories cannot "+want) {
				t.Errorf("%s\n%v\nlacks %q", test.text, err, want)
			}
		}
	}
	o := push()
	o.Untrusted = true
	for _, text := range []string{"privileged: false", "dns: []"} {
		if _, err := drone.Parse("f", []byte("kind: pipeline\nsteps: [{name: a, image: plugins/docker, "+text+"}]"), o); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// plan is that of the only pipeline, as a runner has it.
func plan(t *testing.T, text string, o drone.Options, secrets map[string]string) *pipeline.Plan {
	t.Helper()
	set := parse(t, text, o)
	w := set.Workflows[0]
	all := map[string]string{}
	for _, more := range []map[string]string{secrets, set.Secrets} {
		for name, value := range more {
			all[name] = value
		}
	}
	p, err := w.Plan(pipeline.Inputs{OwnFolder: true, Facts: o.Build.Facts, Base: w.Variables, Secrets: all})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func variable(s pipeline.PlannedStep, name string) string {
	for _, entry := range s.Env {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return "(not set)"
}

func TestStepsAreToldOfTheBuild(t *testing.T) {
	o := push()
	o.Build.Tag, o.Build.Event, o.Build.Ref = "v1.2.3-rc.1+7", "tag", "refs/tags/v1.2.3-rc.1+7"
	o.Stage = &drone.Stage{Name: "default", Number: 2, OS: "linux", Arch: "amd64", Machine: "runner-1", DependsOn: []string{"a", "b"}}
	o.Clone, o.Params, o.Environ = "drone/git", map[string]string{"PARAM": "from build"}, []string{"RUNNER=yes"}
	p := plan(t, `
kind: pipeline
environment: {PIPELINE: p, DRONE_TAG: mine}
steps:
- name: a
  image: x
  environment: {PIPELINE: s, EMPTY: "", TOKEN: {from_secret: token}}
  commands: ["echo ${DRONE_COMMIT_SHA:0:7} ${DRONE_STAGE_NAME} ${PARAM} ${DRONE_TAG##v} ${UNKNOWN}|$${HOME} $HOME"]
  settings: {a_b: [1, two], c: {d: true}}
`, o, map[string]string{"token": "s3cret"})
	step := p.Steps[1]
	for name, want := range map[string]string{
		"CI": "true", "DRONE": "true", "DRONE_REPO": "example/app", "DRONE_BUILD_NUMBER": "42", "DRONE_BRANCH": "main",
		"DRONE_COMMIT_SHA": o.Build.Commit, "DRONE_COMMIT_MESSAGE": o.Build.Message, "DRONE_COMMIT_AUTHOR": "octocat",
		"DRONE_TAG": "mine", "DRONE_SEMVER": "1.2.3-rc.1+7", "DRONE_SEMVER_SHORT": "1.2.3", "DRONE_SEMVER_PRERELEASE": "rc.1",
		"DRONE_CALVER": "(not set)", "DRONE_STAGE_NUMBER": "2", "DRONE_STAGE_MACHINE": "runner-1", "DRONE_STAGE_DEPENDS_ON": "a,b",
		"DRONE_STEP_NAME": "a", "DRONE_STEP_NUMBER": "2", "DRONE_WORKSPACE": "/drone/src", "DRONE_WORKSPACE_PATH": "(not set)",
		"GIT_AUTHOR_NAME": "Octo Cat", "GIT_TERMINAL_PROMPT": "0", "PARAM": "from build", "RUNNER": "yes",
		"PIPELINE": "s", "EMPTY": "(not set)", "TOKEN": "s3cret", "PLUGIN_A_B": "1,two", "PLUGIN_C": `{"d":true}`,
	} {
		if got := variable(step, name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if !strings.Contains(string(step.Script), "\necho 0123456 default from build 1.2.3-rc.1+7 |${HOME} $HOME\n") {
		t.Errorf("script: %s", step.Script)
	}
	facts := []pipeline.RunVariable{{Name: "CI_BUILD_STATUS", Fact: "status"}, {Name: "DRONE_BUILD_STATUS", Fact: "status"}, {Name: "DRONE_FAILED_STEPS", Fact: "failed_steps"}, {Name: "DRONE_STAGE_STATUS", Fact: "status"}}
	if diff := cmp.Diff(facts, step.FromRun); diff != "" {
		t.Error(diff)
	}
}

func TestGitCredentials(t *testing.T) {
	text := "kind: pipeline\nsteps:\n- {name: script, image: x, commands: [git pull]}\n- {name: plugin, image: x}"
	o := push()
	o.Clone, o.Netrc = "drone/git", &drone.Netrc{Machine: "git.example.com", Login: "bot", Password: "pa55word"}
	p := plan(t, text, o, nil)
	if !slices.Contains(p.Secrets, "pa55word") {
		t.Errorf("the password is not masked: %q", p.Secrets)
	}
	clone, script, plugin := p.Steps[0], p.Steps[1], p.Steps[2]
	if got := variable(clone, "DRONE_NETRC_PASSWORD") + variable(plugin, "DRONE_NETRC_PASSWORD") + variable(script, "DRONE_NETRC_PASSWORD"); got != "pa55wordpa55word(not set)" {
		t.Error(got)
	}
	if len(script.SecretFiles) != 1 || string(script.SecretFiles[0].Value) != "machine git.example.com\nlogin bot\npassword pa55word\n" || script.Shell[0] != "/bin/sh" {
		t.Errorf("%+v", script)
	}
	o.NetrcCloneOnly = true
	p = plan(t, text, o, nil)
	if got := variable(p.Steps[0], "DRONE_NETRC_PASSWORD") + variable(p.Steps[2], "DRONE_NETRC_PASSWORD"); got != "pa55word(not set)" || len(p.Steps[1].SecretFiles) > 0 {
		t.Error(got)
	}
	named := one(`environment: {A: {from_secret: "drone netrc password"}, B: {from_secret: "drone netrc"}}`)
	set, err := drone.Parse(".drone.yml", []byte(named), o)
	if err != nil || set.Secrets["drone netrc password"]+set.Secrets["drone netrc"] != "" {
		t.Errorf("a step can name the password: %v", err)
	}
}

func TestEncryptedSecrets(t *testing.T) {
	key := "0123456789abcdef0123456789abcdef"
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := []byte("twelve bytes")
	sealed := base64.StdEncoding.EncodeToString(gcm.Seal(nonce, nonce, []byte("hunter2"), nil))
	text := one("environment: {A: {from_secret: s}}") + "---\nkind: secret\nname: s\ndata: >\n  " + sealed[:10] + "\n  " + sealed[10:] + "\n"
	o := push()
	if got := parse(t, text, o).Secrets; len(got) > 0 {
		t.Errorf("without a key: %v", got)
	}
	o.SecretKey = key
	if got := variable(plan(t, text, o, nil).Steps[0], "A"); got != "hunter2" {
		t.Error(got)
	}
	for _, bad := range []string{strings.Replace(key, "0", "1", 1), "short"} {
		o.SecretKey = bad
		_, err := drone.Parse("f", []byte(text), o)
		if err == nil || !strings.Contains(err.Error(), `decrypt secret "s"`) || strings.Contains(err.Error(), bad) {
			t.Errorf("%v", err)
		}
	}
}

func TestTriggersAndDependencies(t *testing.T) {
	text := `
kind: pipeline
name: a
steps: [{name: x, image: x}]
---
kind: pipeline
name: b
trigger: {branch: release/*}
depends_on: [a]
steps: [{name: x, image: x}]
---
kind: pipeline
name: c
depends_on: [b]
trigger: {status: [failure, success], event: {exclude: cron}}
steps: [{name: x, image: "x:${DRONE_STAGE_NAME}"}]
---
kind: pipeline
type: exec
name: d
steps: [{name: x, commands: [x]}]
---
kind: pipeline
name: e
platform: {os: windows}
steps: [{name: x, image: x}]
`
	set := parse(t, text, push())
	var got []string
	for _, w := range set.Workflows {
		got = append(got, w.Name+": "+strings.Join(w.DependsOn, ",")+" "+w.LeftOut)
	}
	want := []string{"a:  ", `b: a branch is "main", not "release/*"`, "c: a ", "d:  its type is exec, and only pipelines of type docker run in containers (--as-docker runs it in the images that its steps name)", "e:  its platform is windows/amd64, and only linux runs here"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	c := set.Workflows[2]
	if c.RunOn != (pipeline.RunOn{Success: true, Failure: true}) || c.Steps[0].Image != "x:c" {
		t.Errorf("%+v %s", c.RunOn, c.Steps[0].Image)
	}
	o := push()
	o.Stage = &drone.Stage{Name: "b"}
	if set := parse(t, text, o); len(set.Workflows) != 1 || set.Workflows[0].LeftOut != "" || set.Workflows[0].Name != "b" {
		t.Errorf("the server has decided: %+v", set.Workflows)
	}
	o.Stage.Name = "z"
	if _, err := drone.Parse("f", []byte(text), o); err == nil || err.Error() != `f: the file has no pipeline "z" (it has a, b, c, d, e)` {
		t.Error(err)
	}
}

func TestWorkspaces(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                           "/drone/src",
		"{path: app}":                  "/drone/src/app",
		"{path: /go/src/app}":          "/go/src/app",
		"{base: /go, path: src/app}":   "/go/src/app",
		"{base: /etc/docker, path: x}": "/drone/src",
		"{path: /mnt}":                 "/drone/src",
		"{base: /, path: ../..}":       "/drone/src",
	} {
		p := plan(t, "kind: pipeline\nworkspace: "+text+"\nsteps: [{name: a, image: x, commands: [y]}]", push(), nil)
		if p.WorkspacePath != want || p.Steps[0].Directory != want {
			t.Errorf("%s: %s, %s", text, p.WorkspacePath, p.Steps[0].Directory)
		}
	}
	p := plan(t, "kind: pipeline\nworkspace: {base: /go, path: src/app}\nsteps: [{name: a, image: x, commands: [y]}]", push(), nil)
	var mounts []string
	for _, m := range p.Steps[0].Mounts {
		mounts = append(mounts, m.Destination)
	}
	if diff := cmp.Diff([]string{"/go", "/go/src/app"}, mounts); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(one("commands: [a], when: {status: [failure]}")), true)
	f.Add([]byte("kind: pipeline\nname: ${DRONE_STAGE_NAME}\n---\nkind: secret\nname: a\ndata: AAAA"), false)
	f.Add([]byte("kind: pipeline\nsteps: [{name: a, image: x, settings: {a: [b, {c: null}], d: .5}}]\nservices: [{name: a b, image: y}]"), true)
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		o := push()
		o.Raw, o.SecretKey = raw, "0123456789abcdef0123456789abcdef"
		set, err := drone.Parse("f", data, o)
		if err != nil {
			return
		}
		for _, w := range set.Workflows {
			if w.LeftOut == "" && len(w.Steps) == 0 {
				t.Errorf("pipeline %s would be green without a step", w.Name)
			}
			for _, on := range w.DependsOn {
				if !slices.ContainsFunc(set.Workflows, func(o pipeline.Workflow) bool { return o.Name == on && o.LeftOut == "" }) {
					t.Errorf("pipeline %s waits for %s", w.Name, on)
				}
			}
			if _, err := w.Plan(pipeline.Inputs{Facts: o.Build.Facts, Base: w.Variables, Mode: pipeline.ForPreview}); err != nil {
				continue
			}
			if _, err := pipeline.Write(w.Pipeline); err == nil {
				continue
			}
		}
	})
}

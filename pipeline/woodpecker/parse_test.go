package woodpecker_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

// Every error has a place, and the key that is wrong.
func TestParseRefuses(t *testing.T) {
	const steps = "steps:\n  a:\n    image: x\n    commands: [y]\n"
	untrusted := func(o *woodpecker.Options) { o.Trust = &woodpecker.Trust{} }
	for name, c := range map[string]struct {
		text, want string
		change     func(*woodpecker.Options)
	}{
		"no steps":                     {"when: {event: push}\n", "f:1:1: steps: is required", nil},
		"steps of a text":              {"steps: x\n", "f:1:8: steps: must be a map or a list, not a string", nil},
		"no image":                     {"steps:\n  a: {commands: [y]}\n", "f:2:3: steps.a: Invalid or missing image", nil},
		"settings and commands":        {"steps:\n  a: {image: x, commands: [y], settings: {a: b}}\n", "f:2:17: steps.a.commands: Cannot configure both `commands` and `settings`", nil},
		"settings and entrypoint":      {"steps:\n  a: {image: x, entrypoint: [y], settings: {a: b}}\n", "f:2:17: steps.a.entrypoint: Cannot configure both `entrypoint` and `settings`", nil},
		"services of one name":         {"services:\n  - {name: db, image: x}\n  - {name: db, image: x}\n" + steps, "f:3:5: services[1]: Service names must be unique, `db` is used more than once", nil},
		"a dependency that is none":    {"steps:\n  a: {image: x, depends_on: b}\n", "f:2:29: steps.a.depends_on: One or more of the specified dependencies do not exist", nil},
		"a dependency on itself":       {"steps:\n  a: {image: x, depends_on: [a]}\n", "f:2:30: steps.a.depends_on[0]: a step cannot depend on itself", nil},
		"a cycle":                      {"steps:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n", "f: cycle: ", nil},
		"two steps of one name":        {"steps:\n  - {name: a, image: x, depends_on: []}\n  - {name: a, image: x}\n", "f:3:5: steps[1]: there is a step \"a\" already", nil},
		"a slip":                       {"steps:\n  a: {image: x, comands: [y]}\n", "f:2:17: steps.a.comands: unknown key", nil},
		"an environment as a list":     {"steps:\n  a: {image: x, environment: [A=b]}\n", "f:2:30: steps.a.environment: must be a map, not a list", nil},
		"a secret deep in a variable":  {"steps:\n  a: {image: x, environment: {A: [{from_secret: s}]}}\n", "f:2:31: steps.a.environment.A: a secret inside a list or a map", nil},
		"an event with include":        {"when: {event: {include: push}}\n" + steps, "f:1:15: when.event: must be an event or a list of events", nil},
		"an expression that is none":   {"when: {evaluate: '('}\n" + steps, "f:1:18: when.evaluate: not a condition", nil},
		"a status that is none":        {"steps:\n  a: {image: x, when: {status: killed}}\n", "f:2:32: steps.a.when.status: must be success, failure", nil},
		"a bad pattern":                {"when: {branch: '[a'}\n" + steps, "f:1:16: when.branch: \"[a\" is not a pattern", nil},
		"a failure that is none":       {"steps:\n  a: {image: x, failure: retry}\n", "f:2:26: steps.a.failure: must be fail, ignore, cancel", nil},
		"a bad device":                 {"steps:\n  a: {image: x, devices: [fuse]}\n", "f:2:17: steps.a.devices: ", nil},
		"a bad server of names":        {"steps:\n  a: {image: x, dns: example}\n", "f:2:17: steps.a.dns: ", nil},
		"a network that is not there":  {"steps:\n  a: {image: x, network_mode: container:b}\n", "f:2:17: steps.a.network_mode: \"container:b\" is not possible", nil},
		"a volume in /proc":            {"steps:\n  a: {image: x, volumes: [/a:/proc/b]}\n", "f:2:17: steps.a.volumes: nothing can be mounted at", nil},
		"an option that is none":       {"steps:\n  a: {image: x, backend_options: {stepexec: {commands: y}}}\n", "f:2:17: steps.a.backend_options: stepexec.commands: is not allowed here", nil},
		"an option that is wrong":      {"steps:\n  a: {image: x, backend_options: {stepexec: {memory: lots}}}\n", "f:2:17: steps.a.backend_options: stepexec.memory: ", nil},
		"a port that is none":          {"services:\n  a: {image: x, ports: [http]}\n" + steps, "f:2:25: services.a.ports[0]: \"http\" is not a port", nil},
		"a bad substitution":           {steps + "    # ${arr[@]}\n", "f:5:7: substitute ${…}", nil},
		"not YAML":                     {"steps: [\n", "f:", nil},
		"two documents":                {steps + "---\n" + steps, "f:1: the file has 2 documents", nil},
		"a matrix of a list":           {"matrix: [a]\n" + steps, "f:1:9: matrix: must be a map, not a list", nil},
		"a large matrix":               {"matrix: {A: [" + strings.Repeat("1,", 300) + "1]}\n" + steps, "f:1:9: matrix: the matrix has more than the 256 cells allowed", nil},
		"untrusted: privileged":        {"steps:\n  a: {image: x, privileged: true}\n", "f:2:17: steps.a.privileged: Insufficient trust level to use `privileged` mode", untrusted},
		"untrusted: volumes":           {"steps:\n  a: {image: x, volumes: [/a:/b]}\n", "f:2:17: steps.a.volumes: Insufficient trust level to use `volumes`", untrusted},
		"untrusted: tmpfs":             {"steps:\n  a: {image: x, tmpfs: [/a]}\n", "Insufficient trust level to use `tmpfs`", untrusted},
		"untrusted: devices":           {"steps:\n  a: {image: x, devices: [/dev/fuse]}\n", "Insufficient trust level to use `devices`", untrusted},
		"untrusted: dns":               {"steps:\n  a: {image: x, dns: 192.0.2.1}\n", "Insufficient trust level to use custom `dns`", untrusted},
		"untrusted: dns_search":        {"steps:\n  a: {image: x, dns_search: a.test}\n", "Insufficient trust level to use `dns_search`", untrusted},
		"untrusted: extra_hosts":       {"steps:\n  a: {image: x, extra_hosts: ['a:192.0.2.1']}\n", "Insufficient trust level to use `extra_hosts`", untrusted},
		"untrusted: network_mode":      {"services:\n  a: {image: x, network_mode: host}\n" + steps, "Insufficient trust level to use `network_mode`", untrusted},
		"untrusted: no network at all": {"steps:\n  a: {image: x, network_mode: none}\n", "", untrusted},
	} {
		t.Run(name, func(t *testing.T) {
			o := push()
			if c.change != nil {
				c.change(&o)
			}
			_, err := woodpecker.Parse("f", []byte(c.text), o)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var list pipeline.Errors
			if !errors.As(err, &list) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

// Which steps run is decided by Woodpecker's rules.
func TestConditions(t *testing.T) {
	tag := func(o *woodpecker.Options) { o.Build.Event, o.Build.Tag, o.Build.Branch = "tag", "v1", "" }
	cron := func(o *woodpecker.Options) { o.Build.Event, o.Build.Cron = "cron", "nightly" }
	nothing := func(o *woodpecker.Options) { o.Build.Files = nil }
	for when, c := range map[string]struct {
		change func(*woodpecker.Options)
		runs   bool
	}{
		"{event: push}":                            {nil, true},
		"{event: [tag, manual]}":                   {nil, false},
		"[{event: tag}, {branch: main}]":           {nil, true},
		"{event: push, branch: other}":             {nil, false},
		"{branch: {exclude: main}}":                {nil, false},
		"{branch: {include: [ma*], exclude: [x]}}": {nil, true},
		"{branch: other }":                         {tag, true}, // not asked of tags
		"{ref: refs/heads/*}":                      {nil, true},
		"{repo: octocat/*}":                        {nil, true},
		"{repo: other/*}":                          {nil, false},
		"{instance: ci.example.com}":               {nil, true},
		"{platform: linux/arm64}":                  {nil, false},
		"{cron: weekly}":                           {nil, true}, // asked of cron only
		"{cron: weekly }":                          {cron, false},
		"{path: 'api/**'}":                         {nil, true},
		"{path: 'web/**'}":                         {nil, false},
		"{path: 'web/** '}":                        {tag, true}, // asked of pushes and pull requests
		"{path: {exclude: ['api/**']}}":            {nil, false},
		"{path: {include: 'web/**', ignore_message: 'FIRST rel'}}": {nil, true},
		"{path: {include: 'web/**', on_empty: false}}":             {nothing, false},
		"{path: {include: 'web/**'}}":                              {nothing, true},
		"{evaluate: 'CI_COMMIT_MESSAGE contains \"first\"'}":       {nil, true},
		"{evaluate: 'NOT_THERE == \"x\"'}":                         {nil, false},
		"{matrix: {GO: 1.2*}}":                                     {nil, true},
		"{matrix: {GO: 2}}":                                        {nil, false},
		"{matrix: {exclude: {GO: '1.26', OS: linux}}}":             {nil, false},
		"{matrix: {exclude: {GO: '1.26', OS: mac}}}":               {nil, true},
		"{local: false}":                                           {nil, false},
		"{local: true}":                                            {nil, true},
	} {
		o := push()
		if c.change != nil {
			c.change(&o)
		}
		text := "matrix: {include: [{GO: '1.26', OS: linux}]}\nsteps:\n  a: {image: x, when: " + when + "}\n  b: {image: x}\n"
		set, err := woodpecker.Parse("f", []byte(text), o)
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		plan, err := set.Workflows[0].Plan(pipeline.Inputs{Facts: o.Build.Facts, Cell: set.Workflows[0].Cell})
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		if runs := len(plan.Steps) == 2; runs != c.runs {
			t.Errorf("%s: runs: %v (%v)", when, runs, plan.LeftOut)
		}
	}
}

// A step that conditions leave out does not make a graph of the steps that are left.
func TestOnlyStepsThatTakePartDecideAboutTheGraph(t *testing.T) {
	const text = "steps:\n  check: {image: x, commands: [exit 1]}\n  package: {image: x, depends_on: check, when: {event: tag}}\n  publish: {image: x, when: {event: push}}\n"
	for event, want := range map[string][]string{"push": {"check"}, "tag": nil} {
		o := push()
		o.Build.Event = event
		set, err := woodpecker.Parse("f", []byte(text), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range set.Workflows[0].Pipeline.Steps {
			if s.Name == "package" && event == "tag" && !slices.Equal(s.DependsOn, []string{"check"}) {
				t.Errorf("%s: package waits for %v", event, s.DependsOn)
			}
		}
		plan, err := set.Workflows[0].Plan(pipeline.Inputs{Facts: o.Build.Facts})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range plan.Steps {
			if s.Name == "publish" && !slices.Equal(s.DependsOn, want) {
				t.Errorf("%s: publish waits for %v, not for %v", event, s.DependsOn, want)
			}
		}
	}
	o := push()
	o.Raw = true
	if _, err := woodpecker.Parse("f", []byte(text), o); err == nil || !strings.Contains(err.Error(), "depends on the event") {
		t.Errorf("converted: %v", err)
	}
}

// What steps are told, and in which order one value goes over another.
func TestVariables(t *testing.T) {
	o := push()
	o.Params = map[string]string{"EXTRA": "more", "CI_REPO": "not this"}
	set, err := woodpecker.Parse(".woodpecker.yaml", []byte(`
matrix: {GO: [1.26]}
steps:
  own: {image: x, commands: [y], environment: {CI_WORKSPACE: mine, A: 0x10, B: [1, "two", yes], C: {d: [1, "x"]}, D: ~, E: 2001-01-01, F: true}}
  plugin: {image: x, settings: {a.b-c: 1, list: [a, 2]}}
`), o)
	if err != nil {
		t.Fatal(err)
	}
	w := set.Workflows[0]
	plan, err := w.Plan(pipeline.Inputs{Facts: o.Build.Facts, Cell: w.Cell, Base: w.Variables, Workspace: t.TempDir(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	own, plugin := plan.Steps[0].Env, plan.Steps[1].Env
	for _, want := range []string{
		"CI=woodpecker", "CI_WORKSPACE=mine", "CI_REPO=octocat/hello", "CI_WORKFLOW_NAME=woodpecker", "EXTRA=more", "GO=1.26", "A=16", "B=1,two,yes", `C={"d":[1,"x"]}`, "E=2001-01-01", "F=true",
		"CI_STEP_NAME=own", "CI_STEP_TYPE=commands", "SHELL=/bin/sh", `CI_PIPELINE_FILES=["api/main.go"]`,
	} {
		if !slices.Contains(own, want) {
			t.Errorf("own lacks %s: %q", want, own)
		}
	}
	for _, want := range []string{"PLUGIN_A_B_C=1", "PLUGIN_LIST=a,2", "DRONE_REPO=octocat/hello", "DRONE_COMMIT_SHA=" + o.Build.Commit, "CI_WORKSPACE=/woodpecker/src", "CI_STEP_TYPE=plugin"} {
		if !slices.Contains(plugin, want) {
			t.Errorf("plugin lacks %s: %q", want, plugin)
		}
	}
	for _, entry := range plugin {
		if strings.HasPrefix(entry, "EXTRA=") || strings.HasPrefix(entry, "SHELL=") {
			t.Errorf("plugin has %s", entry)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("steps:\n  a: {image: x, commands: [y], when: {event: push, path: {include: a, on_empty: false}}}\n")
	f.Add("variables: &v [a, b]\nmatrix: {include: [{A: 1}, {B: 2}]}\nsteps:\n  - {image: 'x${A}', commands: [<<: *v, '${A:0:1} $${B}'], depends_on: [{name: b, optional: true}]}\n")
	f.Add("services: {db: {image: x, ports: [1/tcp]}}\nworkspace: {base: /a, path: b}\nsteps: {a: {image: x, settings: {a: {b: {from_secret: c}}}, backend_options: {stepexec: {memory: 1g}, docker: {user: 1}}}}\n")
	f.Add("when: [{evaluate: 'CI_REPO == \"a\"', status: [failure]}]\ndepends_on: [a]\nruns_on: [failure]\nsteps: {a: {image: x, volumes: [/a, b:/c, /d:/e:ro], tmpfs: /t, devices: /dev/x, dns: 1.1.1.1, extra_hosts: 'a:1.1.1.1'}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, raw := range []bool{false, true} {
			o := push()
			o.Raw = raw
			set, err := woodpecker.Parse("f", []byte(text), o)
			if err != nil {
				if list := (pipeline.Errors{}); !errors.As(err, &list) || len(list) == 0 {
					t.Fatalf("not a list of errors: %v", err)
				}
				continue
			}
			for _, w := range set.Workflows {
				_, err := w.Plan(pipeline.Inputs{Facts: o.Build.Facts, Cell: w.Cell, Base: w.Variables, Mode: pipeline.ForPreview})
				if err != nil && !errors.As(err, &pipeline.Errors{}) {
					t.Fatalf("plan: %v", err)
				}
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"pipeline":[{"steps":[{"name":"a","uuid":"1","image":"x","commands":["y"],"on_success":true,"volumes":["v:/w"],"backend_options":{"stepexec":{"cpus":1}}}]}],"volume":"v"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := woodpecker.ParseConfig(data)
		if err != nil {
			return
		}
		translation, err := config.Pipeline(woodpecker.Defaults{Network: "private"})
		if err != nil {
			return
		}
		for _, s := range translation.Pipeline.Steps {
			if translation.Steps[s.Name] == nil {
				t.Fatalf("step %q is not known", s.Name)
			}
		}
		_, _ = translation.Pipeline.Plan(pipeline.Inputs{OwnFolder: true, Mode: pipeline.ForSteps, Base: translation.Base})
	})
}

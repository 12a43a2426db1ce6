package pipeline_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

var update = flag.Bool("update", false, "write the plans of the valid fixtures anew")

// plannedStep is a planned step that can be read as JSON: bytes as text, and
// nothing of what is not set.
type plannedStep struct {
	pipeline.PlannedStep
	Script      string                 `json:",omitempty"`
	SecretFiles map[string]string      `json:",omitempty"`
	FromRun     []pipeline.RunVariable `json:",omitempty"`
	Names       pipeline.Names         `json:",omitzero"`
	Limits      pipeline.Limits        `json:",omitzero"`
	Security    pipeline.Security      `json:",omitzero"`
	Advanced    advanced               `json:",omitzero"`
}

type advanced struct {
	pipeline.Advanced
	Spec      string `json:",omitempty"`
	SpecPatch string `json:",omitempty"`
}

func readable(steps []pipeline.PlannedStep) []plannedStep {
	var out []plannedStep
	for _, s := range steps {
		files := map[string]string{}
		for _, f := range s.SecretFiles {
			files[f.Path] = string(f.Value)
		}
		more := advanced{Spec: string(s.Advanced.Spec), SpecPatch: string(s.Advanced.SpecPatch)}
		more.Advanced = s.Advanced
		more.Advanced.Spec, more.Advanced.SpecPatch = nil, nil
		out = append(out, plannedStep{s, string(s.Script), files, s.FromRun, s.Names, s.Limits, s.Security, more})
	}
	return out
}

func TestPlansOfValidFiles(t *testing.T) {
	in := pipeline.Inputs{
		Dir:       "testdata/valid",
		Workspace: "/", // of root, whatever the machine
		LookupEnv: func(name string) (string, bool) { return "host's " + name, true },
		Secrets: map[string]string{
			"api": "S-api", "db_password": "S-db", "deploy_token": "S-deploy", "drone_password": "S-drone",
			"registry_config": "{}", "netrc": "S-netrc\n", "npm": "S-npm", "registry_password": `S-"registry"`, "ssh": "S-ssh", "unused": "S-unused", "empty": "",
		},
	}
	for _, file := range fixtures(t, "valid") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p, err := pipeline.Parse(filepath.Base(file), read(t, file))
			if err != nil {
				t.Fatal(err)
			}
			plan, err := p.Plan(in)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, strings.TrimSuffix(file, ".yml")+".plan.json", struct {
				*pipeline.Plan
				Steps    []plannedStep
				Services []plannedStep `json:",omitempty"`
			}{plan, readable(plan.Steps), readable(plan.Services)})
		})
	}
}

func compareGolden(t *testing.T, file string, got any) {
	t.Helper()
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(read(t, file)), text.String()); diff != "" {
		t.Error(diff)
	}
}

func parse(t *testing.T, text string) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.Parse("pipeline.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func plan(t *testing.T, text string, in pipeline.Inputs) *pipeline.Plan {
	t.Helper()
	plan, err := parse(t, text).Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

const serial = `
services: {db: {image: x}}
steps: {a: {image: x}, b: {image: x}, c: {image: x}, d: {image: x}}`

const diamond = `
steps:
  fetch: {image: x}
  build: {image: x, depends_on: [fetch, fetch]}
  lint: {image: x, depends_on: fetch}
  test: {image: x, depends_on: [build]}
  publish: {image: x, depends_on: [test, lint]}
  alone: {image: x}`

func TestPlanResolvesDependencies(t *testing.T) {
	for _, test := range []struct {
		name, file string
		in         pipeline.Inputs
		want       string
	}{
		{"a file without depends_on is a chain", serial, pipeline.Inputs{}, "a b<a c<b d<c"},
		{"an empty depends_on makes all steps start at once", "steps: {a: {image: x}, b: {image: x, depends_on: []}, c: {image: x}}", pipeline.Inputs{}, "a b c"},
		{"a graph stays as written", diamond, pipeline.Inputs{}, "fetch build<fetch lint<fetch test<build publish<lint,test alone"},
		{"a dropped step of a chain hands its place on", serial, pipeline.Inputs{Skip: []string{"b", "c"}}, "a d<a"},
		{"only keeps the order through dropped steps", diamond, pipeline.Inputs{Only: []string{"publish", "fetch"}}, "fetch publish<fetch"},
		{"a chosen step needs nothing that is dropped", diamond, pipeline.Inputs{Only: []string{"publish"}}, "publish"},
		{"skip wins over only", diamond, pipeline.Inputs{Only: []string{"publish", "lint"}, Skip: []string{"lint"}}, "publish"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, s := range plan(t, test.file, test.in).Steps {
				text := s.Name
				if len(s.DependsOn) > 0 {
					text += "<" + strings.Join(s.DependsOn, ",")
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanRefusesBadInputs(t *testing.T) {
	const secrets = `environment:
  TOKEN: {from_secret: pipeline_token}
steps:
  - name: deploy
    image: x
    secrets: [{name: key}, {name: api, env: API}]
    settings: {list: [{from_secret: plugin}]}
    environment:
      PASSWORD: {from_secret: drone_password}
  - name: other
    image: x
    env_file: missing.env
    secrets: [other_secret]
`
	given := map[string]string{"pipeline_token": "1", "key": "2", "api": "3", "plugin": "4", "drone_password": "5", "other_secret": ""}
	for _, test := range []struct {
		name, file string
		in         pipeline.Inputs
		want       string
	}{
		{"unknown only", diamond, pipeline.Inputs{Only: []string{"biuld", "zzz"}}, "--only: there is no step \"biuld\" (did you mean \"build\"?)\n--only: there is no step \"zzz\""},
		{"unknown skip", diamond, pipeline.Inputs{Skip: []string{"tset"}}, `--skip: there is no step "tset" (did you mean "test"?)`},
		{"service as step", serial, pipeline.Inputs{Only: []string{"db"}}, `--only: "db" is a service (only steps can be chosen; services always run)`},
		{"nothing left", serial, pipeline.Inputs{Only: []string{"a"}, Skip: []string{"a"}}, "pipeline.yml: no step is left to run (check --only and --skip)"},
		{"all missing secrets", secrets, pipeline.Inputs{Only: []string{"deploy"}}, `pipeline.yml:2:3: environment.TOKEN: secret "pipeline_token" is not given (use --secret pipeline_token, or --secret-file)
pipeline.yml:6:15: steps[0].secrets[0]: secret "key" is not given (use --secret key, or --secret-file)
pipeline.yml:6:28: steps[0].secrets[1]: secret "api" is not given (use --secret api, or --secret-file)
pipeline.yml:7:23: steps[0].settings.list[0]: secret "plugin" is not given (use --secret plugin, or --secret-file)
pipeline.yml:9:7: steps[0].environment.PASSWORD: secret "drone_password" is not given (use --secret drone_password, or --secret-file)`},
		{"missing env files", secrets, pipeline.Inputs{Dir: "/nonexistent", Secrets: given, EnvFiles: []string{"/nonexistent/b.env"}},
			"--env-file: read env file: open /nonexistent/b.env: no such file or directory\npipeline.yml:12:5: steps[1].env_file: read env file: open /nonexistent/missing.env: no such file or directory"},
		{"env without value", serial, pipeline.Inputs{Environment: []string{"NAME"}}, `--env: "NAME" has no value (write NAME=value)`},
		{"env without name", serial, pipeline.Inputs{Environment: []string{"=x"}}, "--env: the name of a variable must not be empty nor contain NUL (write NAME=value)"},
		{"env with NUL", serial, pipeline.Inputs{Environment: []string{"A=b\x00c"}}, "--env: the value of A contains a NUL byte, which no variable can hold (use a file under secrets)"},
		{"secret with NUL", "steps: [{name: a, image: x, environment: {K: {from_secret: s}}}]", pipeline.Inputs{Secrets: map[string]string{"s": "top\x00secret"}},
			"pipeline.yml:1:43: steps[0].environment.K: the value of K contains a NUL byte, which no variable can hold (use a file under secrets)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(t, test.file).Plan(test.in)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanNeedsOnlyTheSecretsOfStepsThatRun(t *testing.T) {
	const file = "steps: {a: {image: x}, b: {image: x, secrets: [s]}}"
	if _, err := parse(t, file).Plan(pipeline.Inputs{Skip: []string{"b"}}); err != nil {
		t.Error(err)
	}
	if _, err := parse(t, file).Plan(pipeline.Inputs{Skip: []string{"a"}}); err == nil {
		t.Error("a step that runs did not need its secret")
	}
}

func TestPlanKeepsEverySecretForMasking(t *testing.T) {
	p := plan(t, serial, pipeline.Inputs{Secrets: map[string]string{"b": "two", "a": "one", "c": ""}})
	if diff := cmp.Diff([]string{"one", "two"}, p.Secrets); diff != "" {
		t.Error(diff)
	}
}

// A pipeline from another file format has passed no check of Parse.
func TestPlanRefusesGraphsThatNeverStart(t *testing.T) {
	p := &pipeline.Pipeline{File: "f.yml", Steps: []pipeline.Step{
		{Name: "a", DependsOn: []string{"b"}},
		{Name: "b", DependsOn: []string{"a", "c"}},
	}}
	_, err := p.Plan(pipeline.Inputs{})
	const want = `f.yml: step "b" depends on "c", which is not a step` + "\n" + `f.yml: cycle: a -> b -> a (remove one of these dependencies)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestInputsOverrideTheFile(t *testing.T) {
	const file = "name: n\ntimeout: 1m\nsteps: [{name: a, image: x, pull: never}]"
	p := plan(t, file, pipeline.Inputs{Pull: pipeline.PullAlways, Platform: "linux/arm64", Timeout: time.Hour})
	if s := p.Steps[0]; s.Pull != pipeline.PullAlways || s.Platform != "linux/arm64" || p.Timeout != time.Hour {
		t.Errorf("got %q, %q, %s", s.Pull, s.Platform, p.Timeout)
	}
	p = plan(t, file, pipeline.Inputs{})
	if s := p.Steps[0]; s.Pull != pipeline.PullNever || s.Platform != "" || p.Timeout != time.Minute {
		t.Errorf("got %q, %q, %s", s.Pull, s.Platform, p.Timeout)
	}
}

func TestStepMountTakesThePlaceOfTheWorkspace(t *testing.T) {
	p := plan(t, "steps: [{name: a, image: x, volumes: ['/b:/b', 'src:/workspace/:ro']}]", pipeline.Inputs{Dir: "/dir", Workspace: "/ws"})
	want := []pipeline.Mount{
		{Type: "bind", Source: "/dir/src", Destination: "/workspace", Options: []string{"rbind", "ro"}},
		{Type: "bind", Source: "/b", Destination: "/b", Options: []string{"rbind", "rw"}},
	}
	if diff := cmp.Diff(want, p.Steps[0].Mounts); diff != "" {
		t.Error(diff)
	}
}

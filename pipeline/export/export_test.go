package export_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/drone"
	"github.com/stepexec/stepexec/pipeline/export"
	"github.com/stepexec/stepexec/pipeline/portable"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

// build is a push of the repository octo/app.
func build() pipeline.Build {
	b := pipeline.Build{Facts: pipeline.Facts{Branch: "main", Event: "push", Ref: "refs/heads/main", Repo: "octo/app", Platform: "linux/amd64", FilesKnown: true}, Number: 7, Commit: "0123456789abcdef"}
	b.Repository = pipeline.Repository{Owner: "octo", Name: "app", DefaultBranch: "main", Trusted: true}
	return b
}

// read returns the workflows of a file.
func read(t *testing.T, format export.Format, data string, raw bool) []pipeline.Workflow {
	t.Helper()
	var set *pipeline.Set
	var err error
	switch format {
	case export.Drone:
		set, err = drone.Parse("ci.yml", []byte(data), drone.Options{Build: build(), Raw: raw, Network: "private"})
	case export.Woodpecker:
		set, err = woodpecker.Parse("ci.yml", []byte(data), woodpecker.Options{Build: build(), Raw: raw, Network: "private"})
	default:
		p, err := pipeline.Parse("ci.yml", []byte(data))
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		return []pipeline.Workflow{{Pipeline: p}}
	}
	if err == nil {
		for _, w := range set.Workflows {
			if len(w.Wrong) > 0 {
				err = errors.Join(err, w.Wrong)
			}
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return set.Workflows
}

// written is what a server of the format runs of a file, as native files.
func written(t *testing.T, format export.Format, data string) string {
	t.Helper()
	var all strings.Builder
	for _, w := range read(t, format, data, false) {
		fmt.Fprintf(&all, "# depends on %v, left out %t, labels %v\n", w.DependsOn, w.LeftOut != "", w.Labels)
		for i := range w.Steps {
			decision, err := pipeline.Decide(w.Steps[i].When, build().Facts)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "# step %s runs %+v\n", w.Steps[i].Name, decision.On)
			w.Steps[i].When = nil // the same condition may be written in another way
		}
		text, err := pipeline.Write(w.Pipeline)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// exported is a file in another format.
func exported(t *testing.T, from, to export.Format, data string) string {
	t.Helper()
	var all []string
	for _, w := range read(t, from, data, true) {
		text, _, err := export.Write(&w, from, to)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		all = append(all, string(text))
	}
	return strings.Join(all, "---\n")
}

const droneFile = `kind: pipeline
name: build
trigger: {branch: [main, release/*], event: {exclude: [pull_request]}}
workspace: {base: /go, path: src/app}
environment: {ALL: everywhere}
services: [{name: db, image: 'postgres:9', environment: {A: b}}]
volumes: [{name: docker, host: {path: /var/run/docker.sock}}]
steps:
- {name: test, image: golang, commands: ['echo ${DRONE_TAG:-none} $DRONE_COMMIT_SHA $${HOME}', 'go test'], environment: {T: {from_secret: tok}, C: '${DRONE_COMMIT_SHA:0:7}'}}
- {name: pub, image: plugins/x, settings: {repo: 'a/${DRONE_REPO_NAME}', tags: ['1', latest], n: 5, b: true, p: {from_secret: pw}}, when: {event: [push, tag], status: [success, failure]}, depends_on: [test]}
- {name: sock, image: 'docker:20', commands: [docker ps], volumes: [{name: docker, path: /var/run/docker.sock}], failure: ignore, depends_on: [test]}
- {name: fail, image: busybox, commands: [echo], user: '1000', when: {status: failure}, depends_on: [pub]}
`

const woodpeckerFile = `when: [{event: push, branch: main}]
labels: {platform: linux/amd64}
services:
  db: {image: 'postgres:9', environment: {A: b}}
steps:
  test:
    image: golang
    commands: ['echo ${CI_COMMIT_TAG:-none} $CI_COMMIT_SHA $${HOME} $$', 'go test']
    environment: {T: {from_secret: tok}, C: '${CI_COMMIT_SHA:0:7}'}
    depends_on: []
  pub: {image: plugin, settings: {repo: 'a/${CI_REPO_NAME}', p: {from_secret: pw}, m: {a: [1, b]}}, depends_on: [test], when: [{event: push, status: [success, failure]}]}
  sock: {image: 'docker:20', pull: true, commands: [docker ps], volumes: ['/var/run/docker.sock:/var/run/docker.sock'], failure: ignore, depends_on: [test]}
`

const nativeFile = `name: build
environment: {ALL: everywhere}
services: [{name: db, image: 'postgres:9', network: private}]
steps:
- {name: test, image: golang, commands: ['echo ${HOME:-none} $$ $A ${#A}'], environment: {T: {from_secret: tok}, R: 'no ${variable}', S: '${env.CI_COMMIT_SHA}'}, network: private}
- {name: pub, image: plugin, settings: {repo: a, l: [1, two]}, when: {event: [push, tag], status: [success, failure]}, network: private, memory: 1GiB}
`

// A file that is written in its own format runs the same steps.
func TestFilesStayTheSameInTheirOwnFormat(t *testing.T) {
	for format, data := range map[export.Format]string{export.Drone: droneFile, export.Woodpecker: woodpeckerFile} {
		want := written(t, format, data)
		once := exported(t, format, format, data)
		if diff := cmp.Diff(want, written(t, format, once)); diff != "" {
			t.Errorf("%s: %s\n%s", format, diff, once)
		}
	}
}

func TestCorpusStaysTheSameInItsOwnFormat(t *testing.T) {
	files, err := filepath.Glob("../*/testdata/corpus/*.y*ml")
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	wrote := 0
	for _, file := range files {
		format := export.Format(filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(file)))))
		data, err := pipeline.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data = []byte(strings.ReplaceAll(string(data), "local: false", "status: success")) // is lost, with a warning
		if before, _, found := strings.Cut(string(data), "  own entrypoint:"); found && format == export.Woodpecker {
			data = []byte(before) // its commands become the variable CI_SCRIPT, which is the same in other words
		}
		var texts []string
		var refused error
		for _, w := range read(t, format, string(data), true) {
			text, _, err := export.Write(&w, format, format)
			refused = errors.Join(refused, err)
			texts = append(texts, string(text))
		}
		if refused != nil {
			t.Logf("%s: %v", file, refused)
			continue
		}
		wrote++
		once := strings.Join(texts, "---\n")
		if diff := cmp.Diff(written(t, format, string(data)), written(t, format, once)); diff != "" {
			t.Errorf("%s: %s\n%s", file, diff, once)
		}
	}
	if wrote < 4 {
		t.Errorf("only %d of %d files were written", wrote, len(files))
	}
}

// A service with conditions is a detached step in the model; in a file it is a service again.
func TestServicesWithConditionsStayServices(t *testing.T) {
	files := map[export.Format]string{
		export.Drone:      "kind: pipeline\nname: a\nservices: [{name: cache, image: redis}, {name: db, image: postgres, when: {event: push}}]\nsteps: [{name: t, image: go, commands: [a]}]\n",
		export.Woodpecker: "services: {cache: {image: redis}, db: {image: postgres, when: {event: push}}}\nsteps: {t: {image: go, commands: [a]}}\n",
		export.Native:     "services: {cache: {image: redis}}\nsteps: [{name: db, image: postgres, detach: service, when: {event: push}}, {name: t, image: go, commands: [a]}]\n",
	}
	for from, data := range files {
		for _, to := range []export.Format{export.Drone, export.Woodpecker, export.Native} {
			text := ""
			if w := read(t, from, data, true)[0]; to == export.Native {
				if from != export.Native {
					if _, err := portable.Convert(&w); err != nil {
						t.Fatal(err)
					}
				}
				native, err := pipeline.Write(w.Pipeline)
				if err != nil {
					t.Fatal(err)
				}
				text = string(native)
			} else {
				text = exported(t, from, to, data)
			}
			w := read(t, to, text, false)[0]
			if len(w.Services) != 1 || len(w.Steps) != 2 || w.Steps[0].Name != "db" || !w.Steps[0].Detach || !w.Steps[0].Serves || len(w.Steps[0].When) != 1 {
				t.Errorf("%s to %s: %d services, steps %+v\n%s", from, to, len(w.Services), w.Steps, text)
			}
		}
	}
}

// step is what all formats have in common.
type step struct {
	Name, Image string
	Commands    []string
	DependsOn   []string
	Values      map[string]string
	Failure     pipeline.FailurePolicy
}

// steps are those of a push. Values are of variables and settings.
func steps(t *testing.T, format export.Format, data string) []step {
	t.Helper()
	var all []step
	for _, w := range read(t, format, data, false) {
		for _, steps := range [][]pipeline.Step{w.Services, w.Steps} {
			for _, s := range steps {
				one := step{Name: s.Name, Image: s.Image, Commands: s.Commands, DependsOn: s.DependsOn, Values: map[string]string{}, Failure: s.Failure}
				if len(one.DependsOn) == 0 {
					one.DependsOn = nil
				}
				for _, v := range append(w.Environment, s.Environment...) {
					one.Values[v.Name] = v.Value.Text + v.Value.FromSecret
				}
				for _, v := range s.Settings {
					one.Values["setting "+v.Name] = fmt.Sprint(v.Value.Text, v.Value.FromSecret, len(v.List), len(v.Map))
				}
				all = append(all, one)
			}
		}
	}
	return all
}

// Woodpecker refuses settings of a step with commands or an entrypoint, which find them as variables
// in Drone.
func TestSettingsBesideCommandsBecomeVariables(t *testing.T) {
	const data = `kind: pipeline
environment: {PLUGIN_N: workflow}
steps:
- {name: a, image: x, commands: [c], settings: {list-of: [a, b], n: 1.0, m: {k: true}, pw: {from_secret: p}, own: x}, environment: {PLUGIN_OWN: mine}}
- {name: b, image: x, entrypoint: [e], settings: {n: 2}}
`
	text := exported(t, export.Drone, export.Woodpecker, data)
	got := steps(t, export.Woodpecker, text)
	want := []map[string]string{
		{"PLUGIN_LIST_OF": "a,b", "PLUGIN_N": "1.0", "PLUGIN_M": `{"k":true}`, "PLUGIN_PW": "p", "PLUGIN_OWN": "mine"},
		{"PLUGIN_N": "2"},
	}
	for i := range got {
		if diff := cmp.Diff(want[i], got[i].Values); diff != "" {
			t.Errorf("%s\n%s", diff, text)
		}
	}
}

// What a server of the other format runs are the same steps, with variables of the same values.
func TestOtherFormatsRunTheSameSteps(t *testing.T) {
	names := strings.NewReplacer("$DRONE_COMMIT_SHA", "$CI_COMMIT_SHA")
	for _, c := range []struct {
		from, to export.Format
		data     string
	}{
		{export.Drone, export.Woodpecker, droneFile},
		{export.Woodpecker, export.Drone, woodpeckerFile},
	} {
		text := exported(t, c.from, c.to, c.data)
		want, got := steps(t, c.from, c.data), steps(t, c.to, text)
		for _, all := range [][]step{want, got} {
			for i := range all {
				for j := range all[i].Commands {
					all[i].Commands[j] = names.Replace(all[i].Commands[j])
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s to %s: %s\n%s", c.from, c.to, diff, text)
		}
	}
}

// A native file, written for a server and converted back, has the same steps.
func TestNativeFilesComeBack(t *testing.T) {
	for to, change := range map[export.Format]func(string) string{
		export.Woodpecker: func(text string) string { return text },
		export.Drone:      func(text string) string { return strings.ReplaceAll(text, ", memory: 1GiB", "") },
	} {
		data := change(nativeFile)
		there := exported(t, export.Native, to, data)
		got := steps(t, to, there)
		want := steps(t, export.Native, data)
		for i := range want {
			if want[i].Name == "test" {
				want[i].Values["S"] = "0123456789abcdef"
			}
			if want[i].Name == "db" && to == export.Drone {
				want[i].Values = got[i].Values
			}
			want[i].DependsOn, got[i].DependsOn = nil, nil // a chain, said in another way
			want[i].Failure, got[i].Failure = "", ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s\n%s", to, diff, there)
		}
		back := read(t, to, there, true)
		if _, err := portable.Convert(&back[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := pipeline.Write(back[0].Pipeline); err != nil {
			t.Error(err)
		}
	}
}

func TestKeysWithoutWordsAreRefused(t *testing.T) {
	one := func(keys string) string { return "steps: [{name: a, image: x, " + keys + "}]\n" }
	for _, c := range []struct {
		from, to   export.Format
		data, want string
	}{
		{export.Native, export.Drone, one("memory: 1GiB, read_only: true"), "steps[0].read_only: files of Drone have no words for it"},
		{export.Native, export.Drone, "steps: [{name: a, image: x, args: [a]}, {name: b, image: x, detach: service}]\n", "steps[1].detach: files of Drone have no words for it: a service that begins after a step"},
		{export.Drone, export.Woodpecker, "kind: pipeline\nservices: [{name: db, image: x}]\nsteps: [{name: a, image: x, commands: [a], depends_on: [db]}]\n", "depends_on: files of Woodpecker have no words for it: nothing waits for a service, such as db"},
		{export.Native, export.Drone, one("timeout: 5m"), "timeout: files of Drone"},
		{export.Native, export.Drone, "matrix: {A: [1]}\n" + one("commands: [x]"), "matrix: files of Drone"},
		{export.Native, export.Drone, one("cache: ['a:/a']"), "cache: files of Drone"},
		{export.Native, export.Drone, one("when: {path: [a]}"), "when.path: files of Drone"},
		{export.Native, export.Drone, one("when: {status: always}"), "when.status: files of Drone have no words for it: it runs after a cancel, too"},
		{export.Native, export.Drone, one("environment: {A: '${env.MINE}'}"), "A: files of Drone have no words for it: its variable ${env.MINE} is not set there"},
		{export.Native, export.Woodpecker, one("output: none"), "output: files of Woodpecker"},
		{export.Native, export.Drone, one("settings: {p: [{from_secret: s}, b]}"), "settings.p: files of Drone have no words for it: a secret is inside of it"},
		{export.Native, export.Drone, one("settings: {p: {q: {from_secret: s}}}"), "settings.p: files of Drone have no words for it: a secret is inside of it"},
		{export.Native, export.Woodpecker, one("settings: {p: [{from_secret: s}, b]}"), "settings.p: files of Woodpecker have no words for it: the plugin gets this list joined"},
		{export.Native, export.Woodpecker, one("commands: [x], settings: {p: {q: {from_secret: s}}}"), "settings.p: files of Woodpecker have no words for it: a secret is inside of it"},
		{export.Woodpecker, export.Drone, one("settings: {p: [{q: {from_secret: s}}]}"), "settings.p: files of Drone have no words for it: a secret is inside of it"},
		{export.Native, export.Woodpecker, one("args: [x]"), "args: files of Woodpecker have no words for it: without an entrypoint"},
		{export.Native, export.Woodpecker, "timeout: 5m\n" + one("commands: [x]"), "timeout: files of Woodpecker"},
		{export.Native, export.Woodpecker, one("ends_run: 3"), "ends_run: files of Woodpecker"},
		{export.Native, export.Woodpecker, one("when: {event: tag, branch: main}"), "no event is left"},
		{export.Drone, export.Woodpecker, "kind: pipeline\nvolumes: [{name: t, temp: {}}]\n" + one("volumes: [{name: t, path: /t}]"), "folders of one run, such as t"},
		{export.Drone, export.Woodpecker, "kind: pipeline\n" + one("commands: ['echo ${DRONE_CALVER}']"), "its variable DRONE_CALVER is not set there"},
		{export.Drone, export.Woodpecker, "kind: pipeline\n" + one("when: {action: opened}"), "when.action"},
		{export.Woodpecker, export.Drone, one("when: {event: push, path: a}"), "when.path"},
		{export.Woodpecker, export.Drone, one("when: [{event: push, branch: main}, {event: cron, branch: dev}]"), "it is a list of conditions"},
		{export.Native, export.Woodpecker, one("shell: [/bin/bash, -c], commands: [x]"), "shell: files of Woodpecker have no words for it"},
		{export.Native, export.Woodpecker, one("shell: [/bin/bash, '-e;x'], commands: [x]"), "shell: files of Woodpecker have no words for it"},
		{export.Woodpecker, export.Drone, one("when: {evaluate: 'true'}"), "when.evaluate"},
		{export.Woodpecker, export.Drone, one("when: {event: release}"), "release do not exist there"},
		{export.Woodpecker, export.Drone, one("when: [{event: release}, {event: pull_request_closed}]"), "when.event: files of Drone have no words for it: Drone has none of the events"},
		{export.Woodpecker, export.Drone, one("backend_options: {stepexec: {pids: 7}}"), "pids: files of Drone"},
	} {
		w := read(t, c.from, c.data, true)[0]
		_, _, err := export.Write(&w, c.from, c.to)
		var wrong pipeline.Errors
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %s: %v", c.from, c.to, c.data, err)
		}
	}
}

// Conditions that differ in their events only are one for Drone, and a shell is chosen as
// Woodpecker's documentation says.
func TestWordsOfTheOtherFormat(t *testing.T) {
	for _, c := range []struct {
		from, to   export.Format
		step, want string
	}{
		{export.Woodpecker, export.Drone, "when: [{event: push, branch: main}, {event: [cron, manual], branch: main}]", "when:\n      event:\n        - push\n        - cron\n        - custom\n      branch:\n        - main\n"},
		{export.Woodpecker, export.Drone, "when: [{event: push}, {event: [push, tag]}, {event: release}]", "event:\n        - push\n        - tag\n"},
		{export.Native, export.Woodpecker, "shell: [/bin/bash, -e, -o, pipefail], commands: [x]", "entrypoint:\n      - /bin/sh\n      - -c\n      - echo \"$CI_SCRIPT\" | base64 -d | /bin/bash -e -o pipefail\n"},
		{export.Native, export.Woodpecker, "shell: [bash], commands: [x]", "| base64 -d | bash\n"},
	} {
		w := read(t, c.from, "steps: [{name: a, image: x, "+c.step+"}]", true)[0]
		text, _, err := export.Write(&w, c.from, c.to)
		if err != nil || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %v\n%s", c.step, err, text)
		}
	}
}

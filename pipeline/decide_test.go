package pipeline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

func conditions(t testing.TB, when string) []pipeline.Condition {
	t.Helper()
	p, err := pipeline.Parse("pipeline.yml", []byte("matrix: {GO: [1.26], OS: [linux]}\nsteps: {a: {image: x, when: "+when+"}}"))
	if err != nil {
		t.Fatal(err)
	}
	return p.Steps[0].When
}

func push() pipeline.Facts {
	return pipeline.Facts{
		Branch: "release/1", Event: "push", Ref: "refs/heads/release/1", Repo: "example/app", Instance: "ci.example.org",
		Platform: "linux/amd64", Files: []string{"a.go", "docs/x.md"}, FilesKnown: true,
		Matrix: map[string]string{"GO": "1.26"}, Env: map[string]string{"DEPLOY": "yes"},
	}
}

func TestConditionsDecide(t *testing.T) {
	success, failure, both := pipeline.RunOn{Success: true}, pipeline.RunOn{Failure: true}, pipeline.RunOn{Success: true, Failure: true}
	var never pipeline.RunOn
	for _, test := range []struct {
		when string
		on   pipeline.RunOn
		why  string
	}{
		{`{}`, success, ``},
		{`{branch: main}`, never, `branch is "release/1", not "main"`},
		{`{branch: [main, "release/*"]}`, success, `branch is "release/1"`},
		{`{branch: "*"}`, never, `branch is "release/1", not "*"`},
		{`{branch: "**"}`, success, `branch is "release/1"`},
		{`{branch: {exclude: "release/*"}}`, never, `branch is "release/1", which "release/*" excludes`},
		{`{branch: {include: "**", exclude: "release/1"}}`, never, `branch is "release/1", which "release/1" excludes`},
		{`{branch: {exclude: main}}`, success, `branch is "release/1"`},
		{`{tag: "v*"}`, never, `tag is not known, and must be "v*"`},
		{`{tag: {exclude: "v*"}}`, success, `tag is not known`},
		{`{branch: "release/*", event: tag}`, never, `event is "push", not "tag"`},
		{`{branch: "release/*", event: push, repo: "example/*", instance: "*.example.org", platform: "linux/*", ref: "refs/heads/**"}`, success,
			`branch is "release/1", event is "push", ref is "refs/heads/release/1", repo is "example/app", instance is "ci.example.org", platform is "linux/amd64"`},
		{`{cron: nightly}`, never, `cron is not known, and must be "nightly"`},
		{`[{event: tag}, {branch: main}]`, never, `event is "push", not "tag"; or branch is "release/1", not "main"`},
		{`[{event: tag}, {event: push}]`, success, `event is "push"`},
		{`[{event: push}, {event: push, status: failure}]`, both, `event is "push"; or event is "push"`},
		{`[{event: tag}, {event: push, status: failure}]`, failure, `event is "push"`},
		{`{status: always}`, pipeline.RunOn{Success: true, Failure: true, Cancel: true}, ``},
		{`{status: [failure, success]}`, both, ``},
		{`{path: "*.go"}`, success, `a.go changed`},
		{`{path: "*.c"}`, never, `no changed file is "*.c": a.go, docs/x.md`},
		{`{path: {exclude: ["docs/**"]}}`, success, `a.go changed`},
		{`{path: {exclude: ["docs/**", "*.go"]}}`, never, `all changed files are excluded: a.go, docs/x.md`},
		{`{path: {include: "docs/**", exclude: "docs/**"}}`, success, `docs/x.md changed`},
		{`{matrix: {GO: 1.26}}`, success, `matrix GO is "1.26"`},
		{`{matrix: {GO: 1.2}}`, never, `matrix GO is "1.26", not "1.2"`},
		{`{matrix: {OS: linux}}`, never, `matrix OS is not known, and must be "linux"`},
		{`{evaluate: 'branch startsWith "release/" and env.DEPLOY == "yes"'}`, success, `evaluate is true: branch startsWith "release/" and env.DEPLOY == "yes"`},
		{`{evaluate: 'CI_COMMIT_BRANCH == "main"'}`, never, `evaluate is false: CI_COMMIT_BRANCH == "main"`},
		{`{evaluate: 'any(files, # endsWith ".go") && matrix.GO == "1.26" && env.MISSING == ""'}`, success,
			`evaluate is true: any(files, # endsWith ".go") && matrix.GO == "1.26" && env.MISSING == ""`},
	} {
		t.Run(test.when, func(t *testing.T) {
			got, err := pipeline.Decide(conditions(t, test.when), push())
			if diff := cmp.Diff(pipeline.Decision{On: test.on, Reason: test.why}, got); diff != "" || err != nil {
				t.Errorf("error %v, decision (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestPathConditionsWithoutFiles(t *testing.T) {
	for _, test := range []struct {
		when  string
		known bool
		runs  bool
	}{
		{`{path: a}`, false, true},
		{`{path: {exclude: a, on_empty: false}}`, false, true},
		{`{path: a}`, true, true},
		{`{path: {include: a, on_empty: false}}`, true, false},
	} {
		got, err := pipeline.Decide(conditions(t, test.when), pipeline.Facts{FilesKnown: test.known})
		if err != nil || got.On.Success != test.runs {
			t.Errorf("%s, files known %t: %+v, %v", test.when, test.known, got, err)
		}
	}
}

func TestAStepWithoutConditionsHasNoReason(t *testing.T) {
	got, err := pipeline.Decide(nil, pipeline.Facts{})
	if want := (pipeline.Decision{On: pipeline.RunOn{Success: true}}); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnExpressionThatCannotBeEvaluatedIsAnErrorOfThePlan(t *testing.T) {
	_, err := parse(t, `steps: {a: {image: x, when: {evaluate: 'files[5] == "x"'}}}`).Plan(pipeline.Inputs{})
	if err == nil || !strings.Contains(err.Error(), "pipeline.yml:1:23: steps.a.when.evaluate: cannot be evaluated: index out of range") {
		t.Errorf("error %v", err)
	}
}

func TestAnExpressionCannotTakeAllMemory(t *testing.T) {
	_, err := pipeline.Decide(conditions(t, `{evaluate: 'len(map(1..100000000, # * 2)) > 1'}`), pipeline.Facts{})
	if err == nil {
		t.Error("no error")
	}
}

func TestStepsWhoseConditionsDoNotHoldAreLeftOut(t *testing.T) {
	got := plan(t, `
services: {db: {image: x}}
steps:
  - {name: first, image: x, when: {branch: main}}
  - {name: build, image: x}
  - {name: deploy, image: y, when: {branch: main}, secrets: [missing]}
  - {name: tell, image: x, when: {status: [failure]}}`, pipeline.Inputs{Facts: pipeline.Facts{Branch: "x"}})
	want := []pipeline.LeftOut{
		{Name: "first", Line: 4, Image: "x", Reason: `branch is "x", not "main"`},
		{Name: "deploy", Line: 6, Image: "y", Reason: `branch is "x", not "main"`, Before: 1},
	}
	if diff := cmp.Diff(want, got.LeftOut); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"build"}, got.Steps[1].DependsOn); diff != "" || len(got.Services) != 1 {
		t.Error(diff)
	}
}

func TestWithoutAnyStepThereIsNoService(t *testing.T) {
	got := plan(t, `
services: {db: {image: x}}
steps: {a: {image: x, when: {event: tag}}}`, pipeline.Inputs{Facts: pipeline.Facts{Event: "push"}})
	if len(got.Services)+len(got.Steps) != 0 || len(got.LeftOut) != 1 {
		t.Errorf("%+v", got)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add("release/*", "branch == 'x'", "release/1")
	f.Add("{a,b}*[x-z]", `tag matches "^v[0-9]+$"`, "v1")
	f.Fuzz(func(t *testing.T, pattern, expression, value string) {
		if strings.Count(pattern, "{") > 8 || len(pattern)+len(expression)+len(value) > 1000 {
			t.Skip() // Parse refuses such patterns
		}
		when := []pipeline.Condition{{Branch: pipeline.Match{Include: []string{pattern}, Exclude: []string{pattern}}, Evaluate: expression}}
		facts := pipeline.Facts{Branch: value, Tag: value, Files: []string{value}, FilesKnown: true}
		if got, err := pipeline.Decide(when, facts); err != nil && got.On != (pipeline.RunOn{}) {
			t.Errorf("an error, and yet %+v", got)
		}
	})
}

func TestOnlyConditionsOnMoreThanStatusNeedFacts(t *testing.T) {
	for when, want := range map[string]bool{
		"{}": false, "{status: always}": false, "[{status: failure}, {branch: main}]": true, "{path: a}": true, "{evaluate: 'true'}": true,
	} {
		if got := parse(t, "steps: {a: {image: x, when: "+when+"}}").HasConditions(); got != want {
			t.Errorf("%s: %t", when, got)
		}
	}
}

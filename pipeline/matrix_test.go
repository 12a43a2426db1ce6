package pipeline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

func TestCellsOfAMatrix(t *testing.T) {
	for _, test := range []struct {
		matrix string
		want   []string
	}{
		{`{A: [1, 2], B: [x, y]}`, []string{"A=1, B=x", "A=1, B=y", "A=2, B=x", "A=2, B=y"}},
		{`{A: [1, 2], B: [x, y], exclude: [{A: 1}, {A: 2, B: x}]}`, []string{"A=2, B=y"}},
		{`{A: [1], include: [{A: 2, C: z}]}`, []string{"A=1", "A=2, C=z"}},
		{`{include: [{A: 1}, {B: 2}]}`, []string{"A=1", "B=2"}},
		{`{A: [1.10, true, "0x1"]}`, []string{"A=1.10", "A=true", "A=0x1"}},
	} {
		p := parse(t, "matrix: "+test.matrix+"\nsteps: {a: {image: x}}")
		var got []string
		for _, cell := range p.Cells() {
			got = append(got, cell.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.matrix, diff)
		}
	}
}

func TestWithoutAMatrixThereIsOneRun(t *testing.T) {
	cells := parse(t, "steps: {a: {image: x}}").Cells()
	if len(cells) != 1 || cells[0] != nil {
		t.Errorf("%v", cells)
	}
}

func TestACellIsInTheEnvironmentAndInImages(t *testing.T) {
	p := parse(t, `
matrix: {GO: [1.26], OS: [alpine]}
environment: {OS: own}
services: {db: {image: "db:${matrix.GO}"}}
steps: {a: {image: "golang:${matrix.GO}-${matrix.OS}", commands: ["echo ${matrix.GO}"]}}`)
	got, err := p.Plan(pipeline.Inputs{Cell: p.Cells()[0]})
	if err != nil {
		t.Fatal(err)
	}
	step := got.Steps[0]
	if step.Image != "golang:1.26-alpine" || got.Services[0].Image != "db:1.26" || !got.OwnWorkspace || got.Cell != "GO=1.26, OS=alpine" {
		t.Errorf("%+v", got)
	}
	env := strings.Join(step.Env, "\n")
	if !strings.Contains(env, "GO=1.26\n") || !strings.Contains(env, "OS=own\n") || !strings.Contains(string(step.Script), "${matrix.GO}") {
		t.Errorf("environment %s, script %s", env, step.Script)
	}
}

func TestVariablesOfTheRunInValues(t *testing.T) {
	p := parse(t, `
environment: {ALL: "${env.TAG}"}
matrix: {GO: [1.26]}
steps:
  a:
    image: "x:${env.TAG}"
    args: ["${env.TAG}", "$TAG"]
    settings: {tags: ["${matrix.GO}", "${env.NONE:-latest}"], deep: {a: "${env.TAG}"}}
    environment: {GREETING: "go ${matrix.GO} ${env.EMPTY:-is} ${OTHER}"}`)
	in := pipeline.Inputs{Cell: p.Cells()[0], Environment: []string{"TAG=v1", "EMPTY="}}
	plan, err := p.Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	step := plan.Steps[0]
	got := strings.Join(append([]string{step.Image, strings.Join(step.Args, " ")}, step.Env...), "\n")
	for _, want := range []string{"x:v1", "v1 $TAG", "ALL=v1", "PLUGIN_TAGS=1.26,latest", `PLUGIN_DEEP={"a":"v1"}`, "GREETING=go 1.26 is ${OTHER}"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
	in.Environment = nil
	_, err = p.Plan(in)
	const want = "variable TAG is not given (use --env TAG=VALUE, or write ${env.TAG:-DEFAULT})"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	in.Mode = pipeline.ForPreview
	if plan, err := p.Plan(in); err != nil || plan.Steps[0].Image != "x:${env.TAG}" {
		t.Errorf("preview: %v", err)
	}
}

func TestSubstitutionsAreChecked(t *testing.T) {
	for value, want := range map[string]string{
		"${matrix.OS}":   `steps.a.environment.V: the matrix has no axis "OS"`,
		"${env.A-B}":     "steps.a.environment.V: ${env.A-B} is not a variable (write ${env.NAME} or ${env.NAME:-DEFAULT})",
		"${env.}":        "${env.} is not a variable",
		"${env.A:-b c}":  "",
		"${ENV} ${env.A": "",
	} {
		_, err := pipeline.Parse("", []byte("steps: {a: {image: x, environment: {V: \""+value+"\"}, commands: [make]}}"))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", value, err, want)
		}
	}
}

func TestAValueThatMakesNoImageIsAnError(t *testing.T) {
	p := parse(t, `
matrix: {V: ["a b"]}
steps: {a: {image: "x:${matrix.V}"}}`)
	_, err := p.Plan(pipeline.Inputs{Cell: p.Cells()[0]})
	if err == nil || !strings.Contains(err.Error(), `x:${matrix.V} becomes "x:a b", which is not an image`) {
		t.Errorf("error %v", err)
	}
}

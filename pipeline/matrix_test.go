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

func TestAValueThatMakesNoImageIsAnError(t *testing.T) {
	p := parse(t, `
matrix: {V: ["a b"]}
steps: {a: {image: "x:${matrix.V}"}}`)
	_, err := p.Plan(pipeline.Inputs{Cell: p.Cells()[0]})
	if err == nil || !strings.Contains(err.Error(), `with V=a b the image is "x:a b", which is not valid`) {
		t.Errorf("error %v", err)
	}
}

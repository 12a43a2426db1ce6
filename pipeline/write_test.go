package pipeline_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

// TestWrittenFilesHaveTheSamePlan goes through every valid fixture, among them the one that
// has every key.
func TestWrittenFilesHaveTheSamePlan(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, err := pipeline.Parse("f", data)
			if err != nil {
				t.Fatal(err)
			}
			written, err := pipeline.Write(first)
			if err != nil {
				t.Fatal(err)
			}
			second, err := pipeline.Parse("f", written)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plans(t, first), plans(t, second)); diff != "" {
				t.Errorf("%s\nthe plan has changed (- before, + after):\n%s", written, diff)
			}
		})
	}
}

// plans are those of all cells, as JSON, without the lines of the file.
func plans(t *testing.T, p *pipeline.Pipeline) string {
	t.Helper()
	var all []*pipeline.Plan
	for _, cell := range p.Cells() {
		in := pipeline.Inputs{Cell: cell, Dir: absolute(t, "testdata/valid"), Workspace: "/work", Mode: pipeline.ForPreview, LookupEnv: func(string) (string, bool) { return "host", true }}
		plan, err := p.Plan(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, steps := range [][]pipeline.PlannedStep{plan.Steps, plan.Services} {
			for i := range steps {
				steps[i].Line = 0
			}
		}
		for i := range plan.LeftOut {
			plan.LeftOut[i].Line = 0
		}
		all = append(all, plan)
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func absolute(t *testing.T, dir string) string {
	t.Helper()
	path, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

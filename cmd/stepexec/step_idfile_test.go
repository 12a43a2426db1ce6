package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func TestIDIsWrittenToTheFileThatWasMadeForIt(t *testing.T) {
	workspace, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	planned := func(file string) *policy.Plan {
		p := &pipeline.Pipeline{Steps: []pipeline.Step{{Name: "step", Image: "image", Advanced: pipeline.Advanced{IDFile: file}}}}
		plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: workspace, Workspace: workspace}, policy.Origin{Way: policy.Command})
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	name := filepath.Join(workspace, "id")
	file, err := createIDFile(planned(name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	moved := name + ".moved"
	for _, err := range []error{os.WriteFile(other, []byte("kept"), 0o600), os.Rename(name, moved), os.Symlink(other, name), writeIDFile(file, "run")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{other: "kept", moved: "run"} {
		if got, err := os.ReadFile(file); string(got) != want || err != nil {
			t.Errorf("%s has %q, want %q: %v", file, got, want, err)
		}
	}

	if err := os.Symlink(filepath.Dir(other), filepath.Join(workspace, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := createIDFile(planned(filepath.Join(workspace, "out", "id"))); err == nil {
		t.Error("a link in the workspace led the file out of it")
	}
}

package pipeline_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

func TestHostVariablesAreTakenOnlyWhereTheyMay(t *testing.T) {
	p := parse(t, "steps: [{name: a, image: x, environment: [A, B=b]}]")
	there := func(name string) (string, bool) { return "from the host", name == "A" }
	nowhere := func(string) (string, bool) { return "", false }
	for _, test := range []struct {
		name   string
		lookup func(string) (string, bool)
		want   string
	}{
		{"there", there, ""},
		{"not there", nowhere, "there is no variable A in the host's environment (set it, or write A=value)"},
		{"not allowed", nil, "A would take its value from the host, which is not allowed here (write NAME=value)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan, err := p.Plan(pipeline.Inputs{LookupEnv: test.lookup, Mode: pipeline.ForSteps})
			if test.want != "" {
				if err == nil || err.Error() != "pipeline.yml:1:43: steps[0].environment[0]: "+test.want {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(plan.Steps[0].Env, " "); got != "A=from the host B=b" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestSpecificationFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "good.json", `{"process": {}}`)
	writeFile(t, dir, "list.json", `[]`)
	for file, want := range map[string]string{
		"good.json": "", "list.json": "list.json is not an OCI specification: ", "none.json": "read OCI specification: open ",
	} {
		plan, err := parse(t, "steps: [{name: a, image: x, spec: "+file+"}]").Plan(pipeline.Inputs{Dir: dir})
		switch {
		case want == "" && (err != nil || string(plan.Steps[0].Advanced.Spec) != `{"process": {}}`):
			t.Errorf("%s: %v", file, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), "pipeline.yml:1:29: steps[0].spec: "+want)):
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestWorkspaceOwnerMeIsWhoOwnsTheWorkspace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 1234, 1235); err != nil {
		t.Fatal(err)
	}
	const file = "steps: [{name: a, image: x, workspace_owner: me}]"
	if owner := plan(t, file, pipeline.Inputs{Workspace: dir}).Steps[0].Owner; owner == nil || owner.UID != 1234 || owner.GID != 1235 {
		t.Errorf("got %+v", owner)
	}
	if owner := plan(t, file, pipeline.Inputs{}).Steps[0].Owner; owner != nil {
		t.Errorf("got %+v without a workspace", owner)
	}
}

func TestWithoutAWorkspaceTheDirectoryIsTheImages(t *testing.T) {
	if dir := plan(t, "steps: [{name: a, image: x}]", pipeline.Inputs{}).Steps[0].Directory; dir != "" {
		t.Errorf("got %q", dir)
	}
}

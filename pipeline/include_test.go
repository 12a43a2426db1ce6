package pipeline_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// including parses the file p/main.yml of a folder of files.
func including(files map[string]string) (*pipeline.Pipeline, error) {
	return pipeline.ParseIncluding("p/main.yml", []byte(files["main.yml"]), func(name string) ([]byte, error) {
		text, found := files[name]
		if !found {
			return nil, &fs.PathError{Op: "open", Path: "/secret/" + name, Err: fs.ErrNotExist}
		}
		return []byte(text), nil
	})
}

func TestIncludedStepsComeBeforeTheFilesOwn(t *testing.T) {
	p, err := including(map[string]string{
		"main.yml":     "include: [ci/a.yml, b.yml]\nvolumes: [v]\nsteps:\n- {name: own, image: x, depends_on: [a2], commands: [c]}\n",
		"ci/a.yml":     "include: sub/c.yml\nx-anchor: &i {image: y}\nvolumes: [v, w]\nsteps:\n- {name: a1, <<: *i, commands: [c]}\n- {name: a2, <<: *i, commands: [c]}\n",
		"ci/sub/c.yml": "services: [{name: db, image: z}]\nsteps: [{name: c, image: z, commands: [c]}]\n",
		"b.yml":        "services:\n- {name: web, image: z}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range append(p.Services, p.Steps...) {
		got = append(got, fmt.Sprintf("%s %s:%d %s", s.Name, s.File, s.Line, s.Key))
	}
	want := "db p/ci/sub/c.yml:1 services[0]; web p/b.yml:2 services[0]; c p/ci/sub/c.yml:2 steps[0]; a1 p/ci/a.yml:5 steps[0]; a2 p/ci/a.yml:6 steps[1]; own :4 steps[0]"
	if strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
	if fmt.Sprint(p.Volumes) != "[v w]" {
		t.Errorf("volumes %v", p.Volumes)
	}
}

func TestIncludeErrorsNameTheirPlace(t *testing.T) {
	const step = "steps: [{name: s, image: x, commands: [c]}]\n"
	deep := map[string]string{"main.yml": "include: f0.yml\n" + step}
	for i := range 12 {
		deep[fmt.Sprintf("f%d.yml", i)] = fmt.Sprintf("include: f%d.yml\n", i+1)
	}
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"unknown key of a step": {
			map[string]string{"main.yml": "include: ci/a.yml\n" + step, "ci/a.yml": "steps:\n- {name: a, image: x, comands: [c]}\n"},
			`p/ci/a.yml:2:23: steps[0].comands: unknown key (did you mean "commands"?)`,
		},
		"own step keeps its key": {
			map[string]string{"main.yml": "include: a.yml\nsteps:\n- {name: s, image: x, comands: [c]}\n", "a.yml": "steps: [{name: a, image: x, commands: [c]}]\n"},
			`p/main.yml:3:23: steps[0].comands: unknown key (did you mean "commands"?)`,
		},
		"name taken": {
			map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": step},
			`p/main.yml:2:16: steps[0].name: the name "s" is already taken by steps[0].name at line 1 of p/a.yml`,
		},
		"not YAML":              {map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": "steps: [\n"}, `p/a.yml:`},
		"missing":               {map[string]string{"main.yml": "include: [a.yml]\n" + step}, `p/main.yml:1:11: include[0]: include a.yml: file does not exist`},
		"itself":                {map[string]string{"main.yml": "include: main.yml\n" + step}, `p/main.yml:1:10: include: main.yml is already included by p/main.yml (include each file once)`},
		"cycle":                 {map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": "include: b.yml\n", "b.yml": "include: a.yml\n"}, `p/b.yml:1:10: include: a.yml is already included by p/main.yml (include each file once)`},
		"too deep":              {deep, `p/f7.yml:1:1: include: files include each other deeper than the 8 levels allowed`},
		"out of the folder":     {map[string]string{"main.yml": "include: ../a.yml\n" + step}, `p/main.yml:1:10: include: "../a.yml" leads out of the folder of the pipeline`},
		"out of it by a folder": {map[string]string{"main.yml": "include: ci/a.yml\n" + step, "ci/a.yml": "include: ../../x\n"}, `p/ci/a.yml:1:10: include: "../../x" leads out of the folder`},
		"absolute":              {map[string]string{"main.yml": "include: /etc/passwd\n" + step}, `p/main.yml:1:10: include: "/etc/passwd" leads out of the folder`},
		"key of the pipeline":   {map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": "timeout: 1h\n"}, `p/a.yml:1:1: timeout: only the pipeline's own file can have this key`},
		"unknown key":           {map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": "stepz: []\n"}, `p/a.yml:1:1: stepz: unknown key (did you mean "steps"?)`},
		"lists and maps":        {map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": "steps: {a: {image: x, commands: [c]}}\n"}, `p/a.yml:1:8: steps: must be a list`},
		"no list":               {map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": "steps: 3\n"}, `p/a.yml:1:8: steps: must be a list or a map, not a number`},
		"nothing":               {map[string]string{"main.yml": "include: []\n" + step}, `p/main.yml:1:10: include: must not be empty`},
		"no text":               {map[string]string{"main.yml": "include: {a: b}\n" + step}, `p/main.yml:1:10: include: must be a string or a list of strings, not a map`},
		"no steps anywhere":     {map[string]string{"main.yml": "include: a.yml\n", "a.yml": "services: [{name: a, image: x}]\n"}, `p/main.yml:1:1: steps: is required`},
		"unknown dependency":    {map[string]string{"main.yml": "include: a.yml\n" + step, "a.yml": "steps: [{name: a, image: x, commands: [c], depends_on: [b]}]\n"}, `p/a.yml:1:57: steps[0].depends_on[0]: there is no step "b"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := including(test.files)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "/secret/") {
				t.Errorf("shows the path of the host: %v", err)
			}
		})
	}
}

func TestPlanErrorsOfIncludedStepsNameTheirFile(t *testing.T) {
	p, err := including(map[string]string{
		"main.yml": "include: a.yml\nsteps: [{name: s, image: x, commands: [c]}]\n",
		"a.yml":    "steps:\n- {name: a, image: x, commands: [c], environment: {A: {from_secret: none}}}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Plan(pipeline.Inputs{Workspace: "/w"})
	if err == nil || !strings.HasPrefix(err.Error(), "p/a.yml:2:") {
		t.Errorf("got %v", err)
	}
}

// TestIncludedFilesAreBounded includes a small file that means megabytes from many others.
func TestIncludedFilesAreBounded(t *testing.T) {
	files := map[string]string{"main.yml": "steps: [{name: s, image: x, commands: [c]}]\ninclude:\n"}
	for i := range 60 {
		name := fmt.Sprintf("f%d.yml", i)
		files["main.yml"] += "- " + name + "\n"
		files[name] = "x-a: &a " + strings.Repeat("a", 30<<10) + "\nx-b: [" + strings.Repeat("*a, ", 20) + "]\n"
	}
	_, err := including(files)
	if err == nil || !strings.Contains(err.Error(), "all included files together mean more than 16 MiB") {
		t.Errorf("got %.200v", err)
	}
	for what, text := range map[string]string{"sound": "x-a: " + strings.Repeat("a", 900<<10), "broken": "x-a: [" + strings.Repeat("a, ", 300<<10)} {
		for name := range files {
			if name != "main.yml" {
				files[name] = text + "\n"
			}
		}
		_, err = including(files)
		if err == nil || strings.Count(err.Error(), "all included files together are larger than 4 MiB") != 1 {
			t.Errorf("%s: got %.200v", what, err)
		}
	}
	for name := range files {
		if name != "main.yml" {
			files[name] = "x-a: 1\n"
		}
	}
	_, err = including(files)
	if err == nil || !strings.Contains(err.Error(), "more than the 50 files allowed are included") {
		t.Errorf("got %.200v", err)
	}
}

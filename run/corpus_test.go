package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
)

// Files of each kind are accepted or refused, and compile to the same steps, as their folders say.
func TestCorpus(t *testing.T) {
	const corpus = "../fixtures/corpus"
	cases, err := filepath.Glob(corpus + "/*/*")
	if err != nil || len(cases) < 16 {
		t.Fatal(cases, err)
	}
	for _, folder := range cases {
		t.Run(strings.TrimPrefix(folder, corpus+"/"), func(t *testing.T) {
			got, err := compiled(t, folder)
			if accepted := filepath.Base(filepath.Dir(folder)) == "accept"; accepted != (err == nil) {
				t.Errorf("accepted %t: %v", accepted, err)
			}
			if err != nil {
				got = strings.ReplaceAll(err.Error(), folder+"/", "") + "\n"
			}
			golden := filepath.Join(folder, "expected")
			if os.Getenv("STEPEXEC_WRITE") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// compiled is what a push to main runs of the file in a folder.
func compiled(t *testing.T, folder string) (string, error) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	r := &run.Request{Platform: "linux/amd64", Facts: run.FactSource{
		Given: pipeline.Facts{Event: "push", Branch: "main", Ref: "refs/heads/main", Repo: "octo/app", Instance: "ci.example.com"}, Changed: []string{"main.go"},
	}}
	for _, entry := range entries {
		if entry.Name() != "expected" {
			r.File = filepath.Join(folder, entry.Name())
		}
	}
	from, err := r.Load(t.Context())
	if err == nil {
		err = from.Check()
	}
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, w := range from.Set.Workflows {
		fmt.Fprintf(&out, "pipeline %s, cell %v, after %v, left out: %s\n", w.Name, w.Cell, w.DependsOn, w.LeftOut)
		for _, s := range w.Services {
			fmt.Fprintf(&out, "  service %s of %s\n", s.Name, s.Image)
		}
		for _, s := range w.Steps {
			decision, err := pipeline.Decide(s.When, pipeline.Facts{Event: "push", Branch: "main", Ref: "refs/heads/main", Repo: "octo/app"})
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "  step %s of %s, after %v, runs on %+v, detached %t, failure %q\n", s.Name, s.Image, s.DependsOn, decision.On, s.Detach, s.Failure)
			for _, command := range s.Commands {
				fmt.Fprintf(&out, "    $ %s\n", hideCommit(command))
			}
			for _, v := range append(w.Environment, s.Environment...) {
				fmt.Fprintf(&out, "    %s=%q from secret %q\n", v.Name, v.Value.Text, v.Value.FromSecret)
			}
			for _, v := range s.Settings {
				fmt.Fprintf(&out, "    setting %s: %s\n", v.Name, setting(v))
			}
		}
	}
	return out.String(), nil
}

// hideCommit takes away the commit of this checkout.
func hideCommit(command string) string {
	before, after, found := strings.Cut(command, "main.sha=")
	if !found {
		return command
	}
	_, after, _ = strings.Cut(after, `"`)
	return before + `main.sha=…"` + after
}

// setting is a value with its form.
func setting(s pipeline.Setting) string {
	var parts []string
	for _, part := range append(s.List, s.Map...) {
		parts = append(parts, strings.TrimPrefix(part.Name+"=", "=")+setting(part))
	}
	switch {
	case s.Map != nil:
		return "{" + strings.Join(parts, ", ") + "}"
	case s.List != nil:
		return "[" + strings.Join(parts, ", ") + "]"
	case s.Value.FromSecret != "":
		return "secret " + s.Value.FromSecret
	}
	return s.Value.Text
}

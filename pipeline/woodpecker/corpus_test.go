package woodpecker_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/portable"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

var update = flag.Bool("update", false, "write what the corpus turns into anew")

// push is a build of a push to main that changed the api.
func push() woodpecker.Options {
	return woodpecker.Options{Build: pipeline.Build{
		Facts: pipeline.Facts{
			Branch: "main", Event: "push", Ref: "refs/heads/main", Repo: "octocat/hello", Instance: "ci.example.com", Platform: "linux/amd64",
			Files: []string{"api/main.go"}, FilesKnown: true,
		},
		Number: 7, Commit: "0123456789abcdef0123456789abcdef01234567", Message: "Make the first release", Author: pipeline.Person{Login: "octocat", Email: "octocat@example.com"},
		Repository: pipeline.Repository{Owner: "octocat", Name: "hello", DefaultBranch: "main", Trusted: true},
	}}
}

// TestCorpus compares what real-world-like files turn into, as native files with what these
// do not say in comments.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.y*ml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "testdata/corpus/monorepo/.woodpecker") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, raw := range []bool{false, true} {
				o := push()
				o.Raw = raw
				set, err := woodpecker.Load(file, o)
				if err != nil {
					t.Fatal(err)
				}
				golden := strings.TrimSuffix(file, filepath.Ext(file)) + map[bool]string{false: ".native", true: ".converted"}[raw]
				if strings.HasSuffix(file, "/.woodpecker") {
					golden = filepath.Dir(file) + filepath.Ext(golden)
				}
				compare(t, golden, set, raw)
			}
		})
	}
}

func compare(t *testing.T, golden string, set *pipeline.Set, raw bool) {
	t.Helper()
	var got bytes.Buffer
	for _, warning := range set.Warnings {
		fmt.Fprintf(&got, "# warning: %s\n", warning)
	}
	for _, w := range set.Workflows {
		fmt.Fprintf(&got, "# %s (%s): depends on %v, runs on %+v, left out %q, labels %v\n", w.Name, w.Cell, w.DependsOn, w.RunOn, w.LeftOut, w.Labels)
		if raw {
			if _, err := portable.Convert(&w); err != nil {
				t.Fatal(err)
			}
		}
		text, err := pipeline.Write(w.Pipeline)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(text)
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

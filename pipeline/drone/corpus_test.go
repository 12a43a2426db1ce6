package drone_test

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
	"github.com/stepexec/stepexec/pipeline/drone"
)

var update = flag.Bool("update", false, "write what the corpus turns into anew")

// TestCorpus compares what real-world-like files turn into, as native files with what these
// do not say in comments.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			o := push()
			o.Clone = "drone/git:latest"
			set, err := drone.Load(file, o)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, warning := range set.Warnings {
				fmt.Fprintf(&got, "# warning: %s\n", warning)
			}
			for _, w := range set.Workflows {
				fmt.Fprintf(&got, "# %s: depends on %v, runs on %+v, left out %q, labels %v\n", w.Name, w.DependsOn, w.RunOn, w.LeftOut, w.Labels)
				text, err := pipeline.Write(w.Pipeline)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(text)
			}
			golden := strings.TrimSuffix(file, ".yml") + ".native"
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
				t.Error(diff)
			}
		})
	}
}

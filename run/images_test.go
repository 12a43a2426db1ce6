package run_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/settings"
	"github.com/stepexec/stepexec/unpack"
	"github.com/stepexec/stepexec/unpack/erofs"
)

// TestLayersAreImagesWhereTheyStayMounted: a program that keeps images mounted between its runs gets them without
// asking, and can be told not to. Its runs see the same files either way, leave no mount behind, and go on after a
// prune of everything in between.
func TestLayersAreImagesWhereTheyStayMounted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := fixtures.Busybox(filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	if err := erofs.Supported(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		format unpack.Format
		images *erofs.Kept
		want   string
	}{
		{"nothing stays mounted", unpack.FormatAuto, nil, "fs"},
		{"images stay mounted", unpack.FormatAuto, &erofs.Kept{}, "fs.erofs"},
		{"images stay mounted, settings say nothing", "", &erofs.Kept{}, "fs.erofs"},
		{"images stay mounted, directories are asked for", unpack.FormatDirectories, &erofs.Kept{}, "fs"},
		{"nothing stays mounted, images are asked for", unpack.FormatErofs, nil, "fs.erofs"},
	} {
		defer c.images.Close()
		root := filepath.Join(t.TempDir(), "root")
		var log bytes.Buffer
		bench := newBench(root, policy.Trusted(), &log)
		bench.Machine.Sandbox.Images = c.images
		bench.Settings = func() (settings.Settings, error) { return settings.Settings{LayerFormat: c.format}, nil }
		for n := range 3 {
			output, err := greet(t, bench, dir)
			if err != nil || !strings.HasSuffix(output, "hello\n") {
				t.Fatalf("%s: run %d: %q, %v, log %s", c.name, n, output, err, log.String())
			}
			if layers, err := filepath.Glob(filepath.Join(root, "layers/sha256/*", c.want)); len(layers) == 0 || err != nil {
				t.Errorf("%s: run %d: no layer has %s (%v)", c.name, n, c.want, err)
			}
			if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), root) {
				t.Errorf("left behind: %s: run %d left a mount (%v):\n%s", c.name, n, err, mounts)
			}
			if n == 1 {
				pruneAll(t, root)
			}
		}
	}
}

func pruneAll(t *testing.T, root string) {
	t.Helper()
	store, err := unpack.OpenStore(root)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if freed, err := store.Prune(t.Context(), unpack.PruneOptions{All: true}); err != nil || freed.Layers == 0 {
		t.Fatalf("prune: %+v, %v", freed, err)
	}
}

// greet runs a pipeline of one step and returns what the step prints.
func greet(t *testing.T, bench *run.Bench, dir string) (output string, err error) {
	t.Helper()
	p, err := pipeline.Parse("", []byte("steps: [{name: greet, image: 'oci:busybox', network: none, entrypoint: [echo, hello]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = bench.Execute(t.Context(), run.Work{Pipeline: p, Inputs: pipeline.Inputs{Dir: dir}, Events: func(e *event.Event) {
		switch e.Kind {
		case event.Line:
			output += e.Text + "\n"
		case event.RunFinished:
			if e.Summary.ExitCode != 0 {
				output += fmt.Sprint("exit code ", e.Summary.ExitCode)
			}
		}
	}})
	return output, err
}

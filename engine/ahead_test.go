package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func TestWhatAStepBeforeItCanStillFillIsNotFixed(t *testing.T) {
	shell := []string{"/bin/sh", "-e"}
	workspace := pipeline.Mount{Type: "bind", Source: "/src", Destination: "/workspace"}
	volume := func(at string) []pipeline.Mount {
		return []pipeline.Mount{workspace, {Type: pipeline.MountVolume, Source: "v", Destination: at}}
	}
	for _, test := range []struct {
		name  string
		step  pipeline.PlannedStep
		image ocispec.ImageConfig
		want  bool
	}{
		{name: "nothing shared", want: true},
		{name: "the workspace", step: pipeline.PlannedStep{Directory: "/workspace", Mounts: []pipeline.Mount{workspace}}, want: true},
		{name: "a directory in it", step: pipeline.PlannedStep{Directory: "/workspace/sub", Mounts: []pipeline.Mount{workspace}}},
		{name: "the image's directory in it", image: ocispec.ImageConfig{WorkingDir: "/workspace/sub"}, step: pipeline.PlannedStep{Mounts: []pipeline.Mount{workspace}}},
		{name: "a directory that only begins alike", step: pipeline.PlannedStep{Directory: "/workspaces", Mounts: []pipeline.Mount{workspace}}, want: true},
		{name: "a volume beside it", step: pipeline.PlannedStep{Mounts: volume("/data")}, want: true},
		{name: "a volume in it", step: pipeline.PlannedStep{Mounts: volume("/workspace/data")}},
		{name: "a volume in it, by ..", step: pipeline.PlannedStep{Mounts: volume("/data/../workspace/data")}},
		{name: "a volume of the image in it", image: ocispec.ImageConfig{Volumes: map[string]struct{}{"/workspace/data": {}}}, step: pipeline.PlannedStep{Mounts: []pipeline.Mount{workspace}}},
		{name: "a volume of the image in it, as a relative path", image: ocispec.ImageConfig{Volumes: map[string]struct{}{"workspace/data/": {}}}, step: pipeline.PlannedStep{Mounts: []pipeline.Mount{workspace}}},
		{name: "a volume of the image beside it", image: ocispec.ImageConfig{Volumes: map[string]struct{}{"/data": {}}}, step: pipeline.PlannedStep{Mounts: []pipeline.Mount{workspace}}, want: true},
		{name: "a volume above it", step: pipeline.PlannedStep{Mounts: []pipeline.Mount{{Source: "/src", Destination: "/ci/src"}, {Type: pipeline.MountVolume, Destination: "/ci"}}}},
		{name: "a volume above /etc/hosts", step: pipeline.PlannedStep{Mounts: volume("/etc")}},
		{name: "a volume above the script", step: pipeline.PlannedStep{Mounts: volume("/run")}},
		{name: "a volume in /etc", step: pipeline.PlannedStep{Mounts: volume("/etc/pki")}, want: true},
		{name: "a shell of the image", step: pipeline.PlannedStep{Shell: []string{"bash"}, Mounts: volume("/data")}, want: true},
		{name: "a shell that may be in a volume", step: pipeline.PlannedStep{Shell: []string{"bash"}, Mounts: volume("/usr/local/bin")}},
		{name: "a shell that may be in a volume, by PATH", step: pipeline.PlannedStep{Shell: []string{"bash"}, Mounts: volume("/data"), Env: []string{"PATH=/data/bin:/bin"}}},
		{name: "a shell that may be in a volume, by the image's PATH", step: pipeline.PlannedStep{Shell: []string{"bash"}, Mounts: volume("/data")}, image: ocispec.ImageConfig{Env: []string{"PATH=/bin:/data/bin"}}},
		{name: "a shell of the step's PATH in place of the image's", step: pipeline.PlannedStep{Shell: []string{"bash"}, Mounts: volume("/data"), Env: []string{"PATH=/bin"}}, image: ocispec.ImageConfig{Env: []string{"PATH=/data/bin"}}, want: true},
		{name: "a shell in the directory", step: pipeline.PlannedStep{Shell: []string{"bash"}, Env: []string{"PATH=/bin:."}}},
		{name: "a shell by a path from the directory", step: pipeline.PlannedStep{Shell: []string{"bin/sh"}}},
	} {
		if test.step.Shell == nil {
			test.step.Shell = shell
		}
		if got := engine.IsFixed(&test.step, &fetch.Image{Config: ocispec.Image{Config: test.image}}); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

// containers are those that the runtime knows of the run.
func (b *bench) containers(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, "root", "runs", b.host.ID(), "private", "runtime"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// letGo writes the file that the first step waits for once n containers of others
// are created; the test's own deadline bounds it.
func (b *bench) letGo(t *testing.T, n int) {
	created := func() bool {
		count := 0
		for _, name := range b.containers(t) {
			// The runtime writes it when all is made.
			_, err := os.Stat(filepath.Join(b.dir, "root", "runs", b.host.ID(), "private", "runtime", name, "state.json"))
			if err == nil && !strings.HasSuffix(name, "-1") {
				count++
			}
		}
		return count >= n
	}
	looks := time.NewTicker(time.Millisecond)
	defer looks.Stop()
	for !created() && t.Context().Err() == nil {
		<-looks.C
	}
	if err := os.WriteFile(filepath.Join(b.dir, "go"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

const waits = "'while [ ! -e /workspace/go ]; do sleep 0.01; done'"

func TestStepsPreparedAheadAndNotNeededAreDeleted(t *testing.T) {
	b := newBench(t)
	file := "steps:\n  - {name: fails, image: 'oci:busybox', commands: [" + waits + ", exit 1]}\n"
	for i := range 2 * engine.MaxAhead {
		file += fmt.Sprintf("  - {name: s%d, image: 'oci:busybox', commands: [': > ran']}\n", i)
	}
	var letting sync.WaitGroup
	most := 0
	summary, _ := b.run(t, t.Context(), file, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.StepStarted {
			letting.Go(func() { b.letGo(t, engine.MaxAhead) })
		}
		most = max(most, len(b.containers(t)))
	})
	letting.Wait()
	if summary.ExitCode != 1 || summary.Steps[1].Status != event.Skipped || most > 1+engine.MaxAhead {
		t.Errorf("%+v; %d containers at once", summary, most)
	}
	if left := b.containers(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAStepWhoseWorkspaceWasReplacedIsCreatedAgain(t *testing.T) {
	b := newBench(t)
	workspace := filepath.Join(b.dir, "ws")
	if err := os.Mkdir(workspace, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Parse("pipeline.yml", []byte(`
steps:
  - name: replaces
    image: oci:busybox
    volumes: ['`+b.dir+`:/all']
    commands: ['while [ ! -e /all/go ]; do sleep 0.01; done', mv /all/ws /all/old, mkdir /all/ws, echo new > /all/ws/file]
  - {name: reads, image: 'oci:busybox', commands: [cat file]}
`))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: workspace}, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	var letting sync.WaitGroup
	var lines []string
	summary, err := engine.Run(t.Context(), plan, engine.Options{Host: b.host, Fetcher: b.fetcher, Events: func(e *event.Event) {
		switch {
		case e.Kind == event.StepStarted && e.Step == "replaces":
			letting.Go(func() { b.letGo(t, 1) })
		case e.Kind == event.Line:
			lines = append(lines, e.Text)
		}
	}})
	letting.Wait()
	if err != nil || summary.ExitCode != 0 || !slices.Contains(lines, "new") {
		t.Errorf("%v, %+v, printed %q", err, summary, lines)
	}
}

// A directory that a step begins in must not be in the workspace before it was made
// there: the step before it may want that empty, or make it itself.
func TestNothingOfAStepAppearsInTheWorkspaceBeforeItsTurn(t *testing.T) {
	b := newBench(t)
	var letting sync.WaitGroup
	summary, events := b.run(t, t.Context(), `
volumes: [v]
steps:
  first: {image: 'oci:busybox', commands: [`+waits+`, test ! -e sub, test ! -e vol, mkdir sub, echo made > sub/file]}
  inside: {image: 'oci:busybox', depends_on: first, directory: sub, commands: [cat file]}
  volume: {image: 'oci:busybox', depends_on: first, volumes: ['v:/workspace/vol'], commands: ['true']}
  plain: {image: 'oci:busybox', depends_on: first, commands: ['true']}
`, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.StepStarted && e.Step == "first" {
			letting.Go(func() { b.letGo(t, 1) })
		}
	})
	letting.Wait()
	if summary.ExitCode != 0 || !slices.Contains(story(events), "line inside stdout made") {
		t.Errorf("%+v: %s", summary, strings.Join(story(events), "; "))
	}
}

func TestALongChainLeavesNothingAndHoldsFewContainersAtOnce(t *testing.T) {
	b := newBench(t)
	file := "steps:\n"
	for i := range 300 {
		file += fmt.Sprintf("  - {name: s%d, image: 'oci:busybox', commands: ['true']}\n", i)
	}
	most := 0
	summary, _ := b.run(t, t.Context(), file, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.StepStarted {
			most = max(most, len(b.containers(t)))
		}
	})
	if summary.ExitCode != 0 || len(summary.Steps) != 300 {
		t.Errorf("code %d after %d steps: %s", summary.ExitCode, len(summary.Steps), summary.Error)
	}
	if bound := 1 + engine.MaxAhead + engine.MaxRemovals; most > bound {
		t.Errorf("%d containers at once, more than %d", most, bound)
	}
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*/stepexec-" + b.host.ID() + "*")
	if left := b.containers(t); err != nil || len(left) > 0 || len(cgroups) > 0 {
		t.Errorf("%v; left behind: containers %v, cgroups %v", err, left, cgroups)
	}
}

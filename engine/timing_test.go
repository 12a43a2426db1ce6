package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func TestResultsTellWhatWasWaitedFor(t *testing.T) {
	b := newBench(t)
	summary, _ := b.run(t, t.Context(), `
services:
  db: {image: 'oci:busybox', commands: ['sleep 0.3; echo up; exec sleep 1000'], ready: {log: up, timeout: 1m}}
steps:
  - {name: quick, image: 'oci:busybox', depends_on: [], commands: ['true']}
  - {name: slow, image: 'oci:busybox', depends_on: [], commands: ['while [ ! -e seen ]; do sleep 0.01; done']}
  - {name: last, image: 'oci:busybox', depends_on: [quick, slow], commands: ['true']}
`, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.StepFinished && e.Step == "quick" {
			if err := os.WriteFile(filepath.Join(b.dir, "seen"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	byName := map[string]event.StepResult{}
	for _, r := range summary.Steps {
		byName[r.Step] = r
	}
	for name, want := range map[string]struct {
		dependsOn []string
		waitedFor string
	}{
		"db":    {},
		"quick": {[]string{"db"}, "db"},
		"last":  {[]string{"db", "quick", "slow"}, "slow"},
	} {
		r := byName[name]
		if diff := cmp.Diff(want.dependsOn, r.DependsOn); diff != "" || r.WaitedFor != want.waitedFor {
			t.Errorf("%s waited for %q; depends on (-want +got):\n%s", name, r.WaitedFor, diff)
		}
		if r.Prepared.IsZero() || r.Started.Before(r.Prepared) || r.Start <= 0 || r.Start > r.Duration {
			t.Errorf("%s: prepared %v, started %v, which took %v of %v", name, r.Prepared, r.Started, r.Start, r.Duration)
		}
	}
	last, slow := byName["last"], byName["slow"]
	if last.Eligible.Before(slow.Started) || last.Started.Before(last.Eligible) || last.Queue > event.Millis(last.Started.Sub(last.Eligible)) {
		t.Errorf("eligible %v, started %v, queued for %v", last.Eligible, last.Started, last.Queue)
	}
}

func TestResultsTellTheTimeInTheQueue(t *testing.T) {
	b := newBench(t)
	p, err := pipeline.Parse("pipeline.yml", []byte(`
steps:
  - {name: first, image: 'oci:busybox', depends_on: [], commands: [sleep 0.3]}
  - {name: second, image: 'oci:busybox', depends_on: [], commands: ['true']}
`))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: b.dir}, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := engine.Run(t.Context(), plan, engine.Options{Host: b.host, Fetcher: b.fetcher, Limits: engine.Limits{Parallel: 1}})
	if err != nil {
		t.Fatal(err)
	}
	first, second := summary.Steps[0], summary.Steps[1]
	if second.Queue < first.Duration || second.WaitedFor != "" {
		t.Errorf("queued for %v while the first ran for %v; waited for %q", second.Queue, first.Duration, second.WaitedFor)
	}
}

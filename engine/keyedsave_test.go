package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

// slowStore is a store of keyed caches that has nothing, and whose saves end with their context.
type slowStore struct{ saving func() }

func (slowStore) Restore(context.Context, cache.Query, string, cache.Limits) (cache.Restored, bool, error) {
	return cache.Restored{}, false, nil
}

func (s slowStore) Save(ctx context.Context, _ cache.Item, _ string, _ cache.Limits) error {
	s.saving()
	<-ctx.Done()
	return errors.New("the connection was closed")
}

func TestAnInterruptEndsTheSavingOfCaches(t *testing.T) {
	b := newBench(t)
	p, err := pipeline.Parse("pipeline.yml", []byte("steps: [{name: build, image: 'oci:busybox', cache: [{name: deps, path: /deps, key: [{text: v1}]}], commands: [echo x > /deps/x]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.Trusted().Plan(p, pipeline.Inputs{Dir: b.dir, Workspace: b.dir}, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancelCause(t.Context())
	store := slowStore{saving: func() { interrupt(errors.New("interrupted by a test")) }}
	var warnings []string
	var summary event.Summary
	ended := make(chan error, 1)
	go func() {
		var err error
		summary, err = engine.Run(ctx, plan, engine.Options{
			Host: b.host, Fetcher: b.fetcher, Stop: engine.Stop{Cleanup: 24 * time.Hour},
			Keyed: &engine.KeyedCaches{
				Open:   func(string) (engine.CacheStore, error) { return store, nil },
				Scopes: cache.Scopes{Read: []string{"scope"}, Write: "scope", Share: "share"},
			},
			Events: func(e *event.Event) {
				if e.Kind == event.Warning {
					warnings = append(warnings, e.Text)
				}
			},
		})
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("the run has not ended 5 minutes after the interrupt")
	}
	if summary.Status != event.Succeeded {
		t.Errorf("the run %s, although its only step had succeeded before the interrupt", summary.Status)
	}
	if got := strings.Join(warnings, "\n"); got != "cache deps: not saved: interrupted by a test" {
		t.Errorf("warnings: %q", got)
	}
}

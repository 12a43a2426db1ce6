// Package runnertest has what the tests of all runners need: a place to run work in real
// containers, the lines that a runner says, and a runner that is drained and killed.
package runnertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

// Bench is a folder with the image oci:busybox, in which runners run work.
type Bench struct {
	Dir string

	t    testing.TB
	mu   sync.Mutex
	more *sync.Cond // signals that a runner said something
	said []string
}

// New makes a bench. The test fails when a run is left at its end.
func New(t testing.TB) *Bench {
	t.Helper()
	b := &Bench{Dir: t.TempDir(), t: t}
	b.more = sync.NewCond(&b.mu)
	if err := fixtures.Busybox(filepath.Join(b.Dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := b.Runs(); left > 0 {
			t.Errorf("%d runs are left", left)
		}
		if t.Failed() {
			t.Log(b.Said())
		}
	})
	return b
}

// Runs counts the runs that go on, or have left something.
func (b *Bench) Runs() int {
	runs, err := os.ReadDir(filepath.Join(b.Dir, "root", "runs"))
	if err != nil {
		return 0
	}
	return len(runs)
}

// Folder is the folder of a bench, in which processes of the test run work, too.
type Folder string

// Execute is a runner.Execute with real containers.
func (b *Bench) Execute(ctx context.Context, w run.Work) error {
	return Folder(b.Dir).Execute(ctx, w)
}

// Execute is a runner.Execute with real containers.
func (f Folder) Execute(ctx context.Context, w run.Work) (err error) {
	plan, err := policy.Trusted().Plan(w.Pipeline, w.Inputs, policy.Origin{Way: policy.Run})
	if err != nil {
		return err
	}
	keychain, err := pull.ConfigKeychain(plan.Plan().RegistryConfigs, nil)
	if err != nil {
		return err
	}
	host, err := sandbox.Open(ctx, sandbox.Options{Root: filepath.Join(string(f), "root")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	store, err := unpack.OpenStore(filepath.Join(string(f), "root"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = engine.Run(ctx, plan, engine.Options{
		Host: host, Fetcher: &fetch.Fetcher{Store: store, Dir: string(f), Options: pull.Options{Keychain: keychain}}, Build: w.Build, Events: w.Events, Serve: w.Serve, Stop: engine.Stop{Kill: w.Kill},
		Cache: func(name string) (string, error) {
			if name == Bug {
				panic("a bug of stepexec")
			}
			dir := filepath.Join(string(f), "caches", name)
			return dir, os.MkdirAll(dir, 0o777)
		},
	})
	return err
}

// Bug is a cache whose use meets a bug of stepexec: it panics in the middle of a run.
const Bug = "bug"

// Worker is a runner at work.
type Worker struct {
	Stop func()       // drains it
	Kill func()       // ends it at once
	Err  func() error // waits for its end
}

// Start starts a runner, which is killed at the end of the test.
func (b *Bench) Start(run func(ctx context.Context, kill <-chan struct{}) error) *Worker {
	b.t.Helper()
	kill, ended := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(b.t.Context())
	go func() { ended <- run(ctx, kill) }()
	w := &Worker{Stop: cancel, Kill: sync.OnceFunc(func() { cancel(); close(kill) })}
	w.Err = sync.OnceValue(func() error { return <-ended })
	b.t.Cleanup(func() {
		w.Kill()
		_ = w.Err() // tests that want to know have asked
	})
	return w
}

// Say takes a line that a runner says.
func (b *Bench) Say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, line)
	b.more.Broadcast()
}

// Said is all that runners have said.
func (b *Bench) Said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.said, "\n")
}

// UntilSaid waits until a runner has said something with the text.
func (b *Bench) UntilSaid(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !strings.Contains(strings.Join(b.said, "\n"), text) {
		b.more.Wait()
	}
}

// HasSaid reports whether a runner has said something with the text.
func (b *Bench) HasSaid(text string) bool { return strings.Contains(b.Said(), text) }

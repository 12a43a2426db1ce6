package drone_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

// bench is a server, a store and what its runners say. Steps run in real containers.
type bench struct {
	t      *testing.T
	server *servertest.Server
	dir    string
	mu     sync.Mutex
	said   []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, server: servertest.New(t), dir: t.TempDir()}
	if err := fixtures.Busybox(filepath.Join(b.dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := b.runs(); left > 0 {
			t.Errorf("%d runs are left", left)
		}
		if t.Failed() {
			t.Log(strings.Join(b.said, "\n"))
		}
	})
	return b
}

func (b *bench) runs() int {
	left, err := os.ReadDir(filepath.Join(b.dir, "root", "runs"))
	if err != nil {
		return 0
	}
	return len(left)
}

// execute is a runner.Execute. Images are layouts in the bench's folder.
func (b *bench) execute(ctx context.Context, w runner.Work) (err error) {
	plan, err := w.Pipeline.Plan(w.Inputs)
	if err != nil {
		return err
	}
	keychain, err := pull.ConfigKeychain(plan.RegistryConfigs, nil)
	if err != nil {
		return err
	}
	host, err := sandbox.Open(ctx, sandbox.Options{Root: filepath.Join(b.dir, "root")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	store, err := unpack.OpenStore(filepath.Join(b.dir, "root"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = engine.Run(ctx, plan, engine.Options{
		Host: host, Fetcher: &engine.Fetcher{Store: store, Dir: b.dir, Options: pull.Options{Keychain: keychain}}, Events: w.Events, Kill: w.Kill,
	})
	return err
}

// worker is a runner at work; stop drains it.
type worker struct {
	stop, kill func()
	err        func() error // waits for its end
}

func (b *bench) start(change func(*drone.Options)) *worker {
	b.t.Helper()
	kill := make(chan struct{})
	o := drone.Options{
		Server: b.server.URL(), Secret: servertest.Secret, Name: "bench", Capacity: 1, OS: "linux", Arch: "amd64", Clone: "oci:busybox",
		Execute: b.execute, Kill: kill, Say: b.say, RetryPause: 50 * time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- drone.Run(ctx, o) }()
	w := &worker{stop: cancel, kill: sync.OnceFunc(func() { cancel(); close(kill) })}
	w.err = sync.OnceValue(func() error { return <-ended })
	b.t.Cleanup(func() {
		w.kill()
		_ = w.err() // tests that want to know have asked
	})
	return w
}

func (b *bench) say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, line)
}

func (b *bench) hasSaid(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(strings.Join(b.said, "\n"), text)
}

// steps is a pipeline of steps, each NAME: KEYS.
func steps(all ...string) string {
	text := "kind: pipeline\nsteps:\n"
	for _, s := range all {
		name, keys, _ := strings.Cut(s, ": ")
		if !strings.Contains(keys, "image:") {
			keys = "image: 'oci:busybox', " + keys
		}
		text += "- {name: " + name + ", " + keys + "}\n"
	}
	return text
}

// shortened gives work a second in place of minutes.
func shortened(execute runner.Execute) runner.Execute {
	return func(ctx context.Context, w runner.Work) error {
		if w.Inputs.Timeout != time.Hour {
			return errors.New("the timeout is not that of the repository")
		}
		w.Inputs.Timeout = 8 * time.Second // the clone step must have ended by then, also on a slow machine
		return execute(ctx, w)
	}
}

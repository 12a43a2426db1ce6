package woodpecker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/fixtures"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker/servertest"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a server, and what an agent of it runs steps with.
type bench struct {
	t      *testing.T
	server *servertest.Server
	dir    string

	mu   sync.Mutex
	more *sync.Cond // was said
	said []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, server: servertest.New(t, nil), dir: t.TempDir()}
	b.more = sync.NewCond(&b.mu)
	if err := fixtures.Busybox(filepath.Join(b.dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(filepath.Join(b.dir, "root", "runs"))
		if err == nil && len(left) > 0 {
			t.Errorf("%d runs are left", len(left))
		}
	})
	return b
}

// execute is a runner.Execute with real containers. Images are layouts in the bench's folder.
func (b *bench) execute(ctx context.Context, w runner.Work) (err error) {
	plan, err := w.Pipeline.Plan(w.Inputs)
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
		Host: host, Fetcher: &engine.Fetcher{Store: store, Dir: b.dir}, Events: w.Events, Kill: w.Kill,
		Cache: func(name string) (string, error) {
			dir := filepath.Join(b.dir, "caches", name)
			return dir, os.MkdirAll(dir, 0o777)
		},
	})
	return err
}

// agent is one at work; stop drains it.
type agent struct {
	stop func()
	kill func()
	err  func() error // waits for its end
}

// start starts an agent. change may be nil.
func (b *bench) start(change func(*woodpecker.Options)) *agent {
	b.t.Helper()
	kill := make(chan struct{})
	o := woodpecker.Options{
		Server: b.server.Address(), Secret: servertest.Secret, Hostname: "bench", Version: "test", Platform: engine.HostPlatform(),
		Execute: b.execute, Kill: kill, Defaults: workflows.Defaults{Network: "none"}, Say: b.say,
	}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- woodpecker.Run(ctx, o) }()
	a := &agent{stop: cancel, kill: sync.OnceFunc(func() { cancel(); close(kill) })}
	a.err = sync.OnceValue(func() error { return <-ended })
	b.t.Cleanup(func() {
		a.kill()
		if err := a.err(); err != nil && !b.t.Failed() {
			b.t.Log("the agent: ", err)
		}
	})
	return a
}

func (b *bench) say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, line)
	b.more.Broadcast()
}

// untilSaid waits until the agent has said something with the text.
func (b *bench) untilSaid(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !strings.Contains(strings.Join(b.said, "\n"), text) {
		b.more.Wait()
	}
}

func (b *bench) hasSaid(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(strings.Join(b.said, "\n"), text)
}

// workflow makes a workflow of stages of steps, as a server compiles it.
func workflow(stages ...[]*workflows.Step) *workflows.Config {
	c := &workflows.Config{Volume: "wp_1_default", Network: "wp_1_default"}
	for _, steps := range stages {
		c.Stages = append(c.Stages, workflows.Stage{Steps: steps})
	}
	return c
}

// step is a step with commands.
func step(name string, commands ...string) *workflows.Step {
	return &workflows.Step{
		Name: name, Type: workflows.TypeCommands, Image: "oci:busybox", Commands: commands, OnSuccess: true, Failure: "fail",
		WorkspaceBase: "/woodpecker", WorkingDir: "/woodpecker/src", Volumes: []string{"wp_1_default:/woodpecker"},
		Environment: map[string]string{"CI": "woodpecker", "CI_REPO": "octocat/hello"},
	}
}

func with(s *workflows.Step, change func(*workflows.Step)) *workflows.Step {
	change(s)
	return s
}

// serial is a stage for every step.
func serial(steps ...*workflows.Step) [][]*workflows.Step {
	var stages [][]*workflows.Step
	for _, s := range steps {
		stages = append(stages, []*workflows.Step{s})
	}
	return stages
}

// outcome says how a step ended, in a word and its exit code.
func outcome(s *servertest.Step) string {
	switch {
	case s == nil:
		return "unknown"
	case s.End == nil:
		return "not ended"
	case s.End.GetSkipped():
		return "skipped"
	case s.End.GetCanceled():
		return "canceled"
	case s.End.GetExitCode() == 0 && s.End.GetError() == "":
		return "success"
	}
	return "failure"
}

// printed is what a step has printed, without the lines that show its commands, and those
// that tell of a pull that took long.
func printed(s *servertest.Step) string {
	var lines []string
	for _, line := range s.Lines {
		if !strings.HasPrefix(line, "+ ") && !strings.HasPrefix(line, "stepexec: pulled ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

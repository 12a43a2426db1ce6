package drone_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
	"github.com/stepexec/stepexec/runner/runnertest"
)

// bench is a server, and a place where its runners run steps in real containers.
type bench struct {
	*runnertest.Bench
	server *servertest.Server
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{Bench: runnertest.New(t), server: servertest.New(t)}
}

// start starts a runner. change may be nil.
func (b *bench) start(change func(*drone.Options)) *runnertest.Worker {
	o := drone.Options{
		Server: b.server.URL(), Secret: servertest.Secret, Name: "bench", Capacity: 1, OS: "linux", Arch: "amd64", Clone: "oci:busybox",
		Execute: b.Execute, Say: b.Say, RetryPause: 50 * time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	return b.Start(func(ctx context.Context, kill <-chan struct{}) error {
		o.Kill = kill
		return drone.Run(ctx, o)
	})
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

// touch makes an empty file.
func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// shortened gives work a second in place of minutes.
func shortened(execute runner.Execute) runner.Execute {
	return func(ctx context.Context, w run.Work) error {
		if w.Inputs.Timeout != time.Hour {
			return errors.New("the timeout is not that of the repository")
		}
		w.Inputs.Timeout = 8 * time.Second // the clone step must have ended by then, also on a slow machine
		return execute(ctx, w)
	}
}

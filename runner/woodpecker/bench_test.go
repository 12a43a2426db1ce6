package woodpecker_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/fetch"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner/runnertest"
	"github.com/stepexec/stepexec/runner/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a server, and a place where its agents run steps in real containers.
type bench struct {
	*runnertest.Bench
	t      *testing.T
	server *servertest.Server
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{Bench: runnertest.New(t), t: t, server: servertest.New(t, nil)}
}

// start starts an agent. change may be nil.
func (b *bench) start(change func(*woodpecker.Options)) *runnertest.Worker {
	o := woodpecker.Options{
		Server: b.server.Address(), Secret: servertest.Secret, Hostname: "bench", Version: "test", Platform: fetch.HostPlatform(),
		Execute: b.Execute, Defaults: workflows.Defaults{Network: "none"}, Say: b.Say,
	}
	if change != nil {
		change(&o)
	}
	return b.Start(func(ctx context.Context, kill <-chan struct{}) error {
		o.Kill = kill
		return woodpecker.Run(ctx, o)
	})
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

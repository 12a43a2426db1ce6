// Package fleet has many runners at one server, and kills some of them: what a fleet can do, and
// that it loses nothing. The server and the steps are fake; the runners, the protocols and what
// they keep on disk are the real ones. docs/scale.md has figures.
package fleet_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/drone"
	droneserver "github.com/stepexec/stepexec/runner/drone/servertest"
	"github.com/stepexec/stepexec/runner/woodpecker"
	woodpeckerserver "github.com/stepexec/stepexec/runner/woodpecker/servertest"
)

// Variables by which the program knows that it is a runner of a fleet, and which.
const (
	envKind     = "STEPEXEC_FLEET_KIND" // woodpecker or drone; unset: it is the test
	envServer   = "STEPEXEC_FLEET_SERVER"
	envName     = "STEPEXEC_FLEET_NAME"
	envFolder   = "STEPEXEC_FLEET_FOLDER"
	envCapacity = "STEPEXEC_FLEET_CAPACITY"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(envKind); kind != "" {
		if err := work(kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// work is a runner of the fleet.
func work(kind string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	capacity, err := strconv.Atoi(os.Getenv(envCapacity))
	if err != nil {
		return err
	}
	name, folder := os.Getenv(envName), os.Getenv(envFolder)
	say := func(line string) { fmt.Fprintln(os.Stderr, line) }
	if kind == "drone" {
		return drone.Run(ctx, drone.Options{
			Server: os.Getenv(envServer), Secret: droneserver.Secret, Name: name, Capacity: capacity, OS: "linux", Arch: "amd64", State: folder, Execute: execute, Say: say,
		})
	}
	return woodpecker.Run(ctx, woodpecker.Options{
		Server: os.Getenv(envServer), Secret: woodpeckerserver.Secret, Hostname: name, MaxWorkflows: capacity, Version: "fleet", Platform: fetch.HostPlatform(),
		AgentFile: filepath.Join(folder, "agent.conf"), State: folder, Execute: execute, Say: say, Defaults: workflows.Defaults{Network: "none"},
	})
}

// stepTime is how long a step takes.
const stepTime = 50 * time.Millisecond

// execute is a runner.Execute without containers: it plans and admits the pipeline as always, and
// each of its steps waits, prints a line and succeeds.
func execute(ctx context.Context, w run.Work) error {
	admitted, err := policy.Untrusted().Plan(w.Pipeline, w.Inputs, policy.Origin{Way: policy.Run})
	if err != nil {
		return err
	}
	summary := event.Summary{Status: event.Succeeded}
	for _, step := range admitted.Plan().Steps {
		result, err := pass(ctx, &step, w.Events)
		if err != nil {
			return err
		}
		summary.Steps = append(summary.Steps, result)
	}
	w.Events(&event.Event{Time: time.Now(), Kind: event.RunFinished, Summary: &summary})
	return nil
}

func pass(ctx context.Context, step *pipeline.PlannedStep, tell func(*event.Event)) (event.StepResult, error) {
	began := time.Now()
	tell(&event.Event{Time: began, Kind: event.StepStarted, Step: step.Name, Image: step.Image})
	timer := time.NewTimer(stepTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return event.StepResult{}, context.Cause(ctx)
	}
	tell(&event.Event{Time: time.Now(), Kind: event.Line, Step: step.Name, Stream: event.Stdout, Text: "done"})
	result := event.StepResult{Step: step.Name, Image: step.Image, Status: event.Succeeded, Started: began, Duration: event.Millis(stepTime)}
	tell(&event.Event{Time: time.Now(), Kind: event.StepFinished, Step: step.Name, Result: &result})
	return result, nil
}

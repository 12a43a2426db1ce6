package woodpecker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stepexec/stepexec/pipeline"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// defaultTimeout is that of a workflow whose server says none.
const defaultTimeout = time.Hour

var errCanceled = errors.New("canceled on the server")

// runWorkflow takes a workflow from its beginning to its end, all of which is reported.
func (a *agent) runWorkflow(w *wire.Workflow) {
	id := w.GetId()
	state := &wire.WorkflowState{Started: time.Now().Unix()}
	if _, err := call(a.life, a.client, false, a.client.calls.Init, &wire.InitRequest{Id: id, State: state}); err != nil {
		a.o.Say(fmt.Sprintf("warning: workflow %s is not run: the server does not let it begin: %v", id, err))
		a.stats.count(a.stats.workflows, "refused")
		return
	}
	running, cancel := context.WithCancelCause(a.life)
	var watchers sync.WaitGroup
	watchers.Go(func() { a.watch(running, id, cancel) })
	watchers.Go(func() { a.extend(running, id) })
	watchers.Go(func() { a.cancelWhenKilled(running, cancel) })
	failed, err := a.execute(running, w)
	cause := context.Cause(running)
	state.Canceled = errors.Is(cause, errCanceled) || errors.Is(cause, errKilled)
	state.Finished = time.Now().Unix()
	switch {
	case state.Canceled:
	case err != nil:
		state.Error = err.Error()
	case failed:
		state.Error = textFailed
	}
	a.finish(id, state)
	cancel(nil) // only now: until the server knows the end, the lease is renewed
	watchers.Wait()
	a.stats.count(a.stats.workflows, ended(state, failed))
}

func ended(state *wire.WorkflowState, failed bool) string {
	switch {
	case state.GetCanceled():
		return "canceled"
	case state.GetError() != "" && state.GetError() != textFailed:
		return "error"
	case failed:
		return "failure"
	}
	return "success"
}

// finish tells the server that a workflow has ended. It does not want to hear of one that it
// has cancelled itself.
func (a *agent) finish(id string, state *wire.WorkflowState) {
	_, err := call(a.life, a.client, false, a.client.calls.Done, &wire.DoneRequest{Id: id, State: state})
	if err != nil && !state.GetCanceled() {
		a.o.Say(fmt.Sprintf("warning: workflow %s: the server does not take its end: %v", id, err))
	}
}

// watch waits for the server to cancel a workflow. A server that was restarted may know
// nothing of it: the work goes on.
func (a *agent) watch(ctx context.Context, id string, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		answer, err := call(ctx, a.client, true, a.client.calls.Wait, &wire.WaitRequest{Id: id})
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && answer.GetCanceled():
			cancel(errCanceled)
			return
		}
		pause(ctx, refusedPause)
	}
}

// extend renews the server's lease of a workflow, which would else be given to another agent.
func (a *agent) extend(ctx context.Context, id string) {
	ticker := time.NewTicker(extendPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		_, _ = call(ctx, a.client, false, a.client.calls.Extend, &wire.ExtendRequest{Id: id}) // what is refused now may be taken later
	}
}

func (a *agent) cancelWhenKilled(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-a.o.Kill:
		cancel(errKilled)
	case <-ctx.Done():
	}
}

// execute runs a workflow and returns once everything of it but its end was reported. The
// error is one that is no step's.
func (a *agent) execute(ctx context.Context, w *wire.Workflow) (failed bool, err error) {
	config, err := workflows.ParseConfig(w.GetPayload())
	if err != nil {
		return false, err
	}
	a.addToEnvironment(config)
	box := newOutbox(a, w.GetId())
	defer box.close()
	t, err := config.Pipeline(a.o.Defaults)
	if err != nil {
		newReporter(box, a.stats, a.o.Say, nil).fail(config.Steps(), err)
		return true, err
	}
	r := newReporter(box, a.stats, a.o.Say, t.Steps)
	r.never(t.Never)
	t.Pipeline.File, t.Pipeline.Name = "workflow "+w.GetId(), nameOf(config, w.GetId())
	err = a.o.Execute(ctx, runner.Work{
		Pipeline: t.Pipeline,
		Inputs: pipeline.Inputs{
			OwnFolder: true, Bare: true, Base: t.Base, Timeout: timeout(w), Secrets: secrets(config),
		},
		Logins: logins(config),
		Events: r.event,
		Kill:   a.o.Kill,
	})
	if err != nil && (ctx.Err() != nil || !r.fail(config.Steps(), err)) {
		// All steps have ended: it is about what could not be cleared away.
		a.o.Say(fmt.Sprintf("warning: workflow %s: %v", w.GetId(), err))
		err = nil
	}
	return r.failed, err
}

// nameOf is what a workflow is called in this machine's history.
func nameOf(config *workflows.Config, id string) string {
	env := config.Steps()[0].Environment
	name := strings.Join(strings.Fields(env["CI_REPO"]+" "+env["CI_PIPELINE_NUMBER"]+" "+env["CI_WORKFLOW_NAME"]), " ")
	return cmp.Or(name, "workflow "+id)
}

func timeout(w *wire.Workflow) time.Duration {
	if minutes := w.GetTimeout(); minutes > 0 {
		return time.Duration(min(minutes, 60*24*365)) * time.Minute
	}
	return defaultTimeout
}

// addToEnvironment tells every step what only the agent knows.
func (a *agent) addToEnvironment(config *workflows.Config) {
	for _, step := range config.Steps() {
		if step.Environment == nil {
			step.Environment = map[string]string{}
		}
		step.Environment["CI_MACHINE"] = a.o.Hostname
		step.Environment["CI_SYSTEM_PLATFORM"] = a.o.Platform
		step.Environment["CI_PIPELINE_STARTED"] = strconv.FormatInt(time.Now().Unix(), 10)
	}
}

// secrets are all values that must not be shown, whatever their names: those of the
// repository, variables that are made of them, and logins.
func secrets(config *workflows.Config) map[string]string {
	values := map[string]string{}
	add := func(value string) {
		if strings.TrimSpace(value) != "" {
			values[strconv.Itoa(len(values))] = value
		}
	}
	for _, s := range config.Secrets {
		add(s.Value)
	}
	for _, step := range config.Steps() {
		for _, value := range step.SecretMapping {
			add(value)
		}
		add(step.AuthConfig.Password)
		add(step.Environment["CI_NETRC_PASSWORD"])
	}
	return values
}

// logins are those at the registries of the steps' images.
func logins(config *workflows.Config) map[string]pull.Login {
	all := map[string]pull.Login{}
	for _, step := range config.Steps() {
		host := pull.RegistryOf(step.Image)
		if host != "" && step.AuthConfig.Username != "" && step.AuthConfig.Password != "" {
			all[host] = pull.Login(step.AuthConfig)
		}
	}
	return all
}

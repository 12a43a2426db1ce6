package woodpecker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/journal"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// runWorkflow takes a workflow from its beginning to its end and reports all of it.
func (a *agent) runWorkflow(w *wire.Workflow, entry *journal.Entry) {
	id := w.GetId()
	state := &wire.WorkflowState{Started: time.Now().Unix()}
	config, parseErr := workflows.ParseConfig(w.GetPayload())
	if parseErr != nil {
		config = nil
	}
	p := newProgress(id, state.GetStarted(), config)
	entry.Add(record{Progress: p})
	entry.Sync()
	told := false
	defer func() { a.release(id, entry, told) }()
	if _, err := call(a.life.Calls, a.client, prompt, wire.Init, &wire.InitRequest{Id: id, State: state}); err != nil {
		a.o.Say(fmt.Sprintf("warning: workflow %s does not run: the server rejected its start: %v", id, err))
		a.stats.BuildEnded("refused")
		told = !undelivered(a.life.Calls, err)
		return
	}
	began := time.Now()
	a.o.Say(fmt.Sprintf("workflow %s: runs", id))
	p.Begun = true
	entry.Add(record{Begun: true})
	b := a.life.Begin("workflow " + id)
	defer b.End() // after finish: the lease is renewed until the server knows the end
	b.Watch(func(ctx context.Context) { a.watch(ctx, b, id) })
	b.Watch(func(ctx context.Context) { a.extend(ctx, id) })
	var box *outbox
	failed, err := false, parseErr
	if parseErr == nil {
		box = newOutbox(a.life.Calls, a, b, p, entry, nil)
		failed, err = a.execute(b, w, config, box)
	}
	state.Finished = time.Now().Unix()
	switch cause := b.Cause(); {
	case errors.Is(cause, runner.ErrCancelled), errors.Is(cause, runner.ErrKilled):
		state.Canceled = true
	case cause != nil:
		state.Error = cause.Error()
	case err != nil:
		state.Error = err.Error()
	}
	entry.Add(record{Done: state})
	entry.Sync()
	told = (box == nil || !box.stuck) && a.finish(a.life.Calls, id, state)
	status, took := ended(state, failed), time.Since(began)
	a.stats.BuildEnded(status)
	a.stats.BuildTook(status, took)
	a.o.Say(fmt.Sprintf("workflow %s: %s after %v", id, status, took.Round(time.Second)))
}

func ended(state *wire.WorkflowState, failed bool) string {
	switch {
	case state.GetCanceled():
		return "canceled"
	case state.GetError() != "":
		return "error"
	case failed:
		return "failure"
	}
	return "success"
}

// finish reports the end of a workflow. A server rejects the end of one that it has cancelled
// itself. told is false when the server may still get to know it.
func (a *agent) finish(ctx context.Context, id string, state *wire.WorkflowState) (told bool) {
	_, err := call(ctx, a.client, prompt, wire.Done, &wire.DoneRequest{Id: id, State: state})
	if err != nil && undelivered(ctx, err) {
		return false
	}
	if err != nil && !state.GetCanceled() {
		a.o.Say(fmt.Sprintf("warning: workflow %s: the server rejected the workflow's result: %v", id, err))
	}
	return true
}

// watch cancels a workflow once the server has. A server that was restarted may not know the
// workflow: the work goes on.
func (a *agent) watch(ctx context.Context, b *runner.Build, id string) {
	for ctx.Err() == nil {
		answer, err := call(ctx, a.client, waits, wire.Wait, &wire.WaitRequest{Id: id})
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && answer.GetCanceled():
			b.Cancel()
			return
		}
		runner.Pause(ctx, refusedPause)
	}
}

// extend renews the lease of a workflow. Servers before main of August 2026 give a workflow
// whose lease has run out to another agent.
func (a *agent) extend(ctx context.Context, id string) {
	for runner.Pause(ctx, extendPeriod) {
		_, _ = call(ctx, a.client, prompt, wire.Extend, &wire.ExtendRequest{Id: id}) // the next renewal may succeed
	}
}

// execute runs a workflow, and returns once everything but its end is reported. The error is
// no step's.
func (a *agent) execute(b *runner.Build, w *wire.Workflow, config *workflows.Config, box *outbox) (failed bool, err error) {
	a.addToEnvironment(config)
	defer func() { err = errors.Join(err, box.close()) }()
	var t *workflows.Translation
	var allowed *policy.Policy
	err = b.Protect(func() (err error) {
		if t, err = config.Pipeline(a.o.Defaults); err == nil {
			allowed, err = rules(config, a.o.Defaults)
		}
		return err
	})
	if err != nil {
		newReporter(box, a.stats, a.o.Say, nil).fail(config.Steps(), err)
		return true, err
	}
	r := newReporter(box, a.stats, a.o.Say, t.Steps)
	r.never(t.Never)
	t.Pipeline.File, t.Pipeline.Name = "workflow "+w.GetId(), nameOf(config, w.GetId())
	err = b.Protect(func() error {
		return a.o.Execute(b.Context, run.Work{
			Pipeline: t.Pipeline,
			Default:  allowed,
			Source:   source(config),
			Scopes:   cacheScopes(a.o.Server, config),
			Inputs: pipeline.Inputs{
				OwnFolder: true, Mode: pipeline.ForSteps, Base: t.Base, Timeout: runner.Timeout(w.GetTimeout()), Secrets: secrets(config),
			},
			Build:  buildOf(config),
			Logins: logins(config),
			Events: r.event,
			Kill:   a.o.Kill,
		})
	})
	var c *crash.Error
	if err != nil && (b.Context.Err() != nil || !r.fail(config.Steps(), err)) && !errors.As(err, &c) {
		// All steps have ended: something could not be cleared away.
		a.o.Say(fmt.Sprintf("warning: workflow %s: %v", w.GetId(), err))
		err = nil
	}
	return r.failed, err
}

// nameOf is the name of a workflow in this machine's history.
func nameOf(config *workflows.Config, id string) string {
	env := config.Steps()[0].Environment
	name := strings.Join(strings.Fields(env["CI_REPO"]+" "+env["CI_PIPELINE_NUMBER"]+" "+env["CI_WORKFLOW_NAME"]), " ")
	return cmp.Or(name, "workflow "+id)
}

// buildOf is what a workflow builds, for people: as the server or the variables of its steps tell.
func buildOf(config *workflows.Config) event.Build {
	env, told := config.Steps()[0].Environment, source(config)
	number, _ := strconv.ParseInt(env["CI_COMMIT_PULL_REQUEST"], 10, 64) // 0: it is of none
	return event.Build{
		Repo: cmp.Or(told.Repo, env["CI_REPO"]), Event: cmp.Or(told.Event, env["CI_PIPELINE_EVENT"]), Branch: env["CI_COMMIT_BRANCH"], Tag: env["CI_COMMIT_TAG"], Ref: env["CI_COMMIT_REF"],
		Commit: env["CI_COMMIT_SHA"], Message: env["CI_COMMIT_MESSAGE"], Author: env["CI_COMMIT_AUTHOR"], PullRequest: number,
	}
}

// addToEnvironment gives every step the variables that only the agent knows.
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

// secrets returns all values to be masked, under any name: those of the repository, variables
// made of them, and passwords of logins.
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

// logins returns the logins at the registries of the steps' images.
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

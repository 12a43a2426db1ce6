package drone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/stepexec/stepexec/pipeline"
	format "github.com/stepexec/stepexec/pipeline/drone"
	"github.com/stepexec/stepexec/runner"
)

// defaultTimeout is that of a repository which has none.
const defaultTimeout = time.Hour

// runStage takes a stage that a poll brought from its beginning to its end.
func (w *worker) runStage(offered *stage) {
	s, err := w.client.accept(w.life, offered, w.o.Name)
	if errors.Is(err, errConflict) {
		return // another runner has it
	}
	if err != nil {
		w.o.Say(fmt.Sprintf("warning: stage %d is not run: %v", offered.ID, err))
		w.stats.count(w.stats.stages, "refused")
		return
	}
	d, err := w.client.details(w.life, s.ID)
	if err != nil { // it is this runner's by now, and nobody else will end it
		s.Started = time.Now().Unix()
		w.finish(w.life, s, statusError, err)
		return
	}
	if d.Stage.Status != statusPending { // it was cancelled since
		w.stats.count(w.stats.stages, d.Stage.Status)
		return
	}
	s.Version = max(s.Version, d.Stage.Version)
	w.stats.add(1)
	defer w.stats.add(-1)
	running, cancel := context.WithCancelCause(w.life)
	kill := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() { w.watch(running, d.Build.ID, cancel) })
	watchers.Go(func() { // whoever cancels does not want to wait
		select {
		case <-w.o.Kill:
			cancel(errKilled)
		case <-running.Done():
		}
		if running.Err() != nil && !errors.Is(context.Cause(running), errOver) {
			close(kill)
		}
	})
	w.execute(running, kill, s, d)
	cancel(errOver)
	watchers.Wait()
}

// errOver ends what goes on beside a stage.
var errOver = errors.New("the stage is over")

// watch waits for the server to say that a build is over, which it is before this stage
// only when it was cancelled.
func (w *worker) watch(ctx context.Context, build int64, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		over, err := w.client.watch(ctx, build)
		switch {
		case over:
			cancel(errCancelled)
			return
		case err != nil && ctx.Err() == nil:
			sleep(ctx, w.client.pause)
		}
	}
}

// execute runs a stage and reports all of it.
func (w *worker) execute(ctx context.Context, kill chan struct{}, s *stage, d *details) {
	s.Started = time.Now().Unix()
	job, err := w.job(s, d)
	if err != nil {
		w.finish(ctx, s, statusError, err)
		return
	}
	s.Status, s.Steps = statusRunning, job.steps
	for _, step := range s.Steps {
		step.StageID = s.ID // the server does not look which stage they came with
	}
	if err := w.client.begin(w.life, s); err != nil {
		s.Steps = nil
		if now, err := w.client.details(w.life, s.ID); err == nil {
			if status := now.Stage.Status; status != statusPending && status != statusRunning {
				w.stats.count(w.stats.stages, status)
				return // it was cancelled before it began
			}
			s.Version = now.Stage.Version
		}
		w.finish(ctx, s, statusError, err)
		return
	}
	r := newReporter(w, s, job.set.Warnings)
	err = w.o.Execute(ctx, runner.Work{Pipeline: job.workflow.Pipeline, Inputs: job.inputs, Events: r.event, Kill: kill})
	status, err := r.end(ctx, err)
	w.finish(ctx, s, status, err)
}

// finish reports the end of a stage. The server does not want to hear of one that it has
// cancelled itself.
func (w *worker) finish(ctx context.Context, s *stage, status string, err error) {
	s.Status, s.Stopped = status, time.Now().Unix()
	if err != nil {
		s.Error = short(err.Error())
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCancelled):
		s.Status, s.Error = statusKilled, ""
	case errors.Is(cause, errKilled):
		s.Status, s.Error = statusKilled, errKilled.Error()
	}
	err = w.client.updateStage(w.life, s)
	cancelled := errors.Is(context.Cause(ctx), errCancelled) && errors.Is(err, errConflict)
	if err != nil && !cancelled {
		w.o.Say(fmt.Sprintf("warning: stage %d: the server does not take its end (%s): %v", s.ID, s.Status, err))
	}
	w.stats.count(w.stats.stages, s.Status)
}

// refused says why the runner does not take pipelines of a repository, or for an event.
func (w *worker) refused(d *details) error {
	matches := func(patterns []string, value string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, value)
			return ok && err == nil
		})
	}
	switch {
	case !matches(w.o.Repos, d.Repo.Slug):
		return fmt.Errorf("insufficient permission to run the pipeline: this runner is not for repository %s", d.Repo.Slug)
	case !matches(w.o.Events, d.Build.Event):
		return fmt.Errorf("insufficient permission to run the pipeline: this runner is not for event %s", d.Build.Event)
	case w.o.TrustedOnly && !d.Repo.Trusted:
		return fmt.Errorf("insufficient permission to run the pipeline: this runner is for trusted repositories, and %s is none", d.Repo.Slug)
	}
	return nil
}

func timeout(r *repository) time.Duration {
	if r.Timeout > 0 {
		return time.Duration(min(r.Timeout, 60*24*365)) * time.Minute
	}
	return defaultTimeout
}

// told are the steps that the server is told of.
func told(p *pipeline.Pipeline, facts pipeline.Facts) []*step {
	var steps []*step
	for i, s := range format.ReportedSteps(p, facts) {
		steps = append(steps, &step{
			Number: i + 1, Name: s.Name, Status: statusPending, Image: s.Image, DependsOn: s.DependsOn,
			ErrIgnore: s.Failure == pipeline.FailureIgnore, Detached: s.Service || s.Detach,
		})
	}
	return steps
}

// job is what a stage means.
type job struct {
	set      *pipeline.Set
	workflow *pipeline.Workflow
	inputs   pipeline.Inputs
	steps    []*step
}

func (w *worker) job(s *stage, d *details) (*job, error) {
	if err := w.refused(d); err != nil {
		return nil, err
	}
	o := w.translation(s, d)
	set, err := parse(d.Config.Data, o)
	if err != nil {
		return nil, err
	}
	j := &job{set: set, workflow: &set.Workflows[0]}
	if j.workflow.LeftOut != "" {
		return nil, fmt.Errorf("pipeline %s cannot run here: %s", j.workflow.Name, j.workflow.LeftOut)
	}
	j.steps = told(j.workflow.Pipeline, o.Build.Facts)
	j.inputs = pipeline.Inputs{
		OwnFolder: true, Facts: o.Build.Facts, Base: j.workflow.Variables, Timeout: timeout(d.Repo), Secrets: w.secrets(j, d),
	}
	j.workflow.Pipeline.File = cmp.Or(d.Repo.Slug, "repository")
	if len(j.steps) == 0 {
		return nil, errors.New("no step is left to run: the conditions of none hold")
	}
	return j, nil
}

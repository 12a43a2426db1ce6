package drone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/pipeline"
	format "github.com/stepexec/stepexec/pipeline/drone"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/journal"
)

// runStage takes a stage that a poll brought from its beginning to its end.
func (w *worker) runStage(offered *stage) {
	entry := w.keep(stageFile(offered.ID), record{Stage: offered}) // the server may give it to a runner that is killed before the answer
	s, err := w.client.accept(w.life.Calls, offered, w.o.Name)
	if errors.Is(err, errConflict) {
		w.release(offered, true, entry) // another runner has it
		return
	}
	if err != nil {
		w.o.Say(fmt.Sprintf("warning: stage %d does not run: %v", offered.ID, err))
		w.stats.BuildEnded("refused")
		w.release(offered, !undelivered(w.life.Calls, err), entry)
		return
	}
	entry.Add(record{Stage: s})
	w.runAccepted(s, entry)
}

// runAccepted takes a stage that this runner has accepted to its end.
func (w *worker) runAccepted(s *stage, entry *journal.Entry) {
	b := w.life.Begin(fmt.Sprintf("stage %d", s.ID))
	defer b.End()
	d, err := w.client.details(w.life.Calls, s.ID)
	if err != nil { // it is this runner's by now, and nobody else will end it
		s.Started = time.Now().Unix()
		w.release(s, w.finish(b.Cause(), s, statusError, err, entry), entry)
		return
	}
	if d.Stage.Status != statusPending { // it was cancelled since
		w.stats.BuildEnded(d.Stage.Status)
		w.release(s, true, entry)
		return
	}
	s.Version = max(s.Version, d.Stage.Version)
	defer w.stats.BuildBegan()()
	w.o.Say(fmt.Sprintf("stage %d: runs %q of build %d of %q", s.ID, s.Name, d.Build.Number, d.Repo.Slug))
	b.Watch(func(ctx context.Context) { w.watch(ctx, b, d.Build.ID) })
	kill := make(chan struct{})
	b.Watch(func(ctx context.Context) {
		<-ctx.Done()
		if b.Cause() != nil { // whoever cancels does not want to wait
			close(kill)
		}
	})
	w.execute(b, kill, s, d, entry)
}

// ended counts a stage that has ended, and tells the operator.
func (w *worker) ended(s *stage, status string) {
	took := time.Since(time.Unix(s.Started, 0)).Round(time.Second)
	if s.Started == 0 {
		took = 0
	}
	w.stats.BuildEnded(status)
	w.stats.BuildTook(status, took)
	w.o.Say(fmt.Sprintf("stage %d: %s after %v", s.ID, status, took))
}

// watch cancels a build once the server says that it is over: before this stage has ended,
// that means that somebody cancelled it.
func (w *worker) watch(ctx context.Context, b *runner.Build, build int64) {
	for ctx.Err() == nil {
		over, err := w.client.watch(ctx, build)
		switch {
		case over:
			b.Cancel()
			return
		case err != nil && ctx.Err() == nil:
			runner.Pause(ctx, w.client.pause)
		}
	}
}

// execute runs a stage and reports all of it.
func (w *worker) execute(b *runner.Build, kill chan struct{}, s *stage, d *details, entry *journal.Entry) {
	told, entries := true, []*journal.Entry{entry}
	defer func() { w.release(s, told, entries...) }()
	s.Started = time.Now().Unix()
	var job *job
	err := b.Protect(func() (err error) {
		job, err = w.job(b.Context, s, d)
		return err
	})
	if err != nil {
		told = w.finish(b.Cause(), s, statusError, err, entry)
		return
	}
	s.Status, s.Steps = statusRunning, job.steps
	for _, step := range s.Steps {
		step.StageID = s.ID // the server does not look which stage they came with
	}
	if err := w.client.begin(w.life.Calls, s); err != nil {
		s.Steps = nil
		if now, err := w.client.details(w.life.Calls, s.ID); err == nil {
			if status := now.Stage.Status; status != statusPending && status != statusRunning {
				w.stats.BuildEnded(status)
				return // it was cancelled before it began
			}
			s.Version = now.Stage.Version
		}
		told = w.finish(b.Cause(), s, statusError, err, entry)
		return
	}
	entry.Add(record{Stage: s})
	r := newReporter(w, b, s, job.set.Warnings)
	for _, log := range r.order {
		entries = append(entries, log.kept)
	}
	work := run.Work{
		Pipeline: job.workflow.Pipeline, Inputs: job.inputs, Build: run.AboutBuild(new(buildOf(d))), Default: job.rules, Source: source(d),
		Scopes: run.FactScopes(job.inputs.Facts), Proxies: w.o.Proxies, Events: r.event, Kill: kill,
	}
	err = b.Protect(func() error {
		return w.o.Execute(b.Context, work)
	})
	cause := b.Cause() // before the reports are sent: what ends those does not change the result
	if cause == runner.ErrKilled && r.ranToItsEnd() {
		cause = nil // the kill came when there was nothing left to kill
	}
	status, err := r.end(err)
	told = w.finish(cause, s, status, err, entry, r.order...)
}

// finish reports the end of a stage. The server answers with a conflict when it has cancelled
// the stage itself. told is false when the server may still get to know it, or a step.
func (w *worker) finish(cause error, s *stage, status string, err error, entry *journal.Entry, steps ...*stepLog) (told bool) {
	s.Status, s.Stopped = status, time.Now().Unix()
	if err != nil {
		s.Error = short(err.Error())
	}
	switch cause {
	case nil:
	case runner.ErrCancelled:
		s.Status, s.Error = statusKilled, ""
	case runner.ErrKilled:
		s.Status, s.Error = statusKilled, cause.Error()
	default:
		s.Status, s.Error = statusError, short(cause.Error())
	}
	s.ExitCode = exitCode(s, steps)
	entry.Add(record{Done: s})
	entry.Sync()
	if slices.ContainsFunc(steps, func(l *stepLog) bool { return l.stuck.Load() }) {
		w.ended(s, s.Status)
		return false
	}
	result := s.Status
	err = w.client.updateStage(w.life.Calls, s)
	if undelivered(w.life.Calls, err) {
		w.ended(s, result)
		return false
	}
	cancelled := cause == runner.ErrCancelled && errors.Is(err, errConflict)
	if err != nil && !cancelled {
		w.o.Say(fmt.Sprintf("warning: stage %d: the server rejected the stage's result (%s): %v", s.ID, s.Status, err))
	}
	w.ended(s, s.Status)
	return true
}

// exitCode is the first failed step's, as servers show it for a stage: 0 if and only if the stage
// has succeeded.
func exitCode(s *stage, steps []*stepLog) int {
	if s.Status == statusSuccess {
		return 0
	}
	for _, l := range steps {
		if l.end.code != 0 && !l.step.ErrIgnore && (l.end.status == statusFailure || l.end.status == statusError || l.end.status == statusKilled) {
			return l.end.code
		}
	}
	switch s.Status {
	case statusError:
		return codeError
	case statusKilled:
		return codeKilled
	}
	return 1
}

// refused says why this runner does not run a pipeline of that repository, or for that event.
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

// rules are what the server lets a repository ask for, and what the runner's administrator
// gives to every step.
func (w *worker) rules(d *details, privileged []string) (*policy.Policy, error) {
	t := policy.Trust{
		Network: d.Repo.Trusted, Volumes: d.Repo.Trusted, Devices: d.Repo.Trusted, Security: d.Repo.Trusted,
		PrivilegedImages: privileged, HostNetwork: w.o.Network == "host",
	}
	for _, m := range w.o.Volumes {
		t.Mounts = append(t.Mounts, m.Source)
	}
	for _, device := range w.o.Devices {
		t.DevicePaths = append(t.DevicePaths, device.Source)
	}
	rules, err := policy.FromServer(t)
	if err != nil {
		return nil, fmt.Errorf("images that are privileged (see DRONE_RUNNER_PRIVILEGED_IMAGES): %w", err)
	}
	return rules, nil
}

// source is what the server says about where a build comes from. The ref tells whether the sources
// are of a branch: a pull request has the branch that it is meant for.
func source(d *details) policy.Source {
	s := policy.Source{Repo: d.Repo.Slug, Event: d.Build.Event}
	if branch, found := strings.CutPrefix(d.Build.Ref, "refs/heads/"); found && d.Build.Event != "pull_request" {
		s.Branch = branch
	}
	return s
}

// told lists the steps that the server shows.
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

// job is a stage in the model.
type job struct {
	set      *pipeline.Set
	workflow *pipeline.Workflow
	inputs   pipeline.Inputs
	rules    *policy.Policy // what the server lets the repository ask for
	steps    []*step
}

func (w *worker) job(ctx context.Context, s *stage, d *details) (*job, error) {
	if err := w.refused(d); err != nil {
		return nil, err
	}
	o := w.translation(s, d)
	given, err := w.pluginEnviron(ctx, d)
	if err != nil {
		return nil, err
	}
	var masked []string
	for _, v := range given {
		o.Environ = append(slices.Clip(o.Environ), v.Name+"="+v.Data)
		if v.Mask {
			masked = append(masked, v.Data)
		}
	}
	set, err := parse(d.Config.Data, o)
	if err != nil {
		return nil, err
	}
	j := &job{set: set, workflow: &set.Workflows[0]}
	if j.rules, err = w.rules(d, o.PrivilegedImages); err != nil {
		return nil, err
	}
	if j.workflow.LeftOut != "" {
		return nil, fmt.Errorf("pipeline %s cannot run here: %s", j.workflow.Name, j.workflow.LeftOut)
	}
	j.steps = told(j.workflow.Pipeline, o.Build.Facts)
	j.inputs = pipeline.Inputs{
		OwnFolder: true, Facts: o.Build.Facts, Base: j.workflow.Variables, Timeout: runner.Timeout(d.Repo.Timeout),
	}
	if j.inputs.Secrets, err = w.secrets(ctx, j, d, masked); err != nil {
		return nil, err
	}
	j.workflow.Pipeline.File = cmp.Or(d.Repo.Slug, "repository")
	if len(j.steps) == 0 {
		return nil, errors.New("no step is left to run: the conditions of all steps exclude them")
	}
	return j, nil
}

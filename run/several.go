package run

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/schedule"
)

var errOtherCell = errors.New("another cell of the matrix failed, and the pipeline fails fast")

// severalRuns are the runs of several pipelines, and of the cells of a matrix: as many at
// once as there are CPUs, or as many as steps may run at once. A pipeline waits for those
// that it depends on.
type severalRuns struct {
	machine Machine
	options engine.Options // that all have in common
	show    func(*event.Event)
	all     []*severalRun
	mu      sync.Mutex // guards the rest, and the display
	code    int        // exit code of the run that failed first; 0: none
	failed  []string   // names of the runs that failed, with their codes
}

// severalRun is one of them.
type severalRun struct {
	*Job
	position int // in the order of the file, from 1
	item     *schedule.Item
	after    []*severalRun           // runs that it waits for
	cells    context.Context         // of all cells of its pipeline
	cancel   context.CancelCauseFunc // of cells

	// Its goroutine alone uses these until it is over.
	failed  bool   // it failed, or one that it waited for
	leftOut string // why it never began; "": it did
	err     error
}

// All runs the jobs of a request to their end, and returns the exit code of the one that
// failed first. Events of the options get the events of all of them, one at a time. The
// error is stepexec's own and no step's; no secret is left in its text.
func All(ctx context.Context, jobs []*Job, o engine.Options) (code int, err error) {
	m := jobs[0].request.Machine
	if dir := jobs[0].request.Artifacts; dir != "" {
		folder, err := artifact.Open(dir, 0o755, 0)
		if err != nil {
			return event.CodeError, fmt.Errorf("--artifacts: %w", err)
		}
		defer folder.Close()
		o.Artifacts = folder
	}
	caches := newCaches(m.Sandbox.Root)
	o.Cache = caches.folder
	if job := jobs[0]; job.Cell == "" {
		code, err = execute(ctx, job, m, o)
	} else {
		code, err = (&severalRuns{machine: m, options: o}).run(ctx, jobs)
	}
	if err = errors.Join(err, caches.close()); err != nil {
		return code, logs.NewMask(Secrets(jobs)).Error(err)
	}
	return code, nil
}

// execute plans and runs a job. Under a context that has ended all of its steps are cancelled,
// which their events tell.
func execute(ctx context.Context, j *Job, m Machine, o engine.Options) (int, error) {
	p, err := j.planOrPanic(context.WithoutCancel(ctx), m)
	if err != nil {
		return event.CodeError, err
	}
	if o.Artifacts != nil && j.Cell != "" {
		if o.Artifacts, err = o.Artifacts.Sub(cellFolder(j.Cell)); err != nil {
			return event.CodeError, fmt.Errorf("--artifacts: %w", err)
		}
		defer o.Artifacts.Close()
	}
	return Execute(ctx, p, m, o)
}

// planOrPanic is Plan, of which a panic becomes an error, so that it ends this job alone.
func (j *Job) planOrPanic(ctx context.Context, m Machine) (p *Planned, err error) {
	defer func() { m.tellCrash(err, logs.NewMask(j.values)) }()
	defer crash.Recover(&err)
	return j.Plan(ctx)
}

// Secrets are the values of the secrets of all jobs, each once.
func Secrets(jobs []*Job) []string {
	var all []string
	for _, j := range jobs {
		all = append(all, j.values...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// run runs all to their end and returns the exit code of the one that failed first.
func (c *severalRuns) run(ctx context.Context, jobs []*Job) (int, error) {
	limit := runtime.NumCPU()
	if flush := c.options.Flush; flush != nil {
		c.options.Flush = func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			flush()
		}
	}
	c.show, c.options.Events = c.options.Events, c.event
	if c.options.Limits.Parallel > 0 {
		limit, c.options.Limits.Slots = c.options.Limits.Parallel, make(chan struct{}, c.options.Limits.Parallel)
	}
	order, end := c.connect(ctx, jobs, limit)
	defer end()
	c.runAll(ctx, order)
	c.event(&event.Event{Kind: event.MatrixFinished, Time: time.Now(), Text: c.verdict()})
	if ctx.Err() != nil && c.code != 0 {
		c.code = event.CodeInterrupted
	}
	var errs []error
	for _, r := range c.all {
		errs = append(errs, r.err)
	}
	return c.code, errors.Join(errs...)
}

// connect makes the runs and the schedule that says which wait for which. end must be called.
func (c *severalRuns) connect(ctx context.Context, jobs []*Job, limit int) (order *schedule.Schedule, end func()) {
	order = schedule.New(limit)
	byName := map[string][]*severalRun{}
	for i, j := range jobs {
		r := &severalRun{Job: j, position: i + 1, item: order.Add(j.Cell)}
		if others := byName[j.Name]; len(others) > 0 {
			r.cells, r.cancel = others[0].cells, others[0].cancel
		} else {
			r.cells, r.cancel = context.WithCancelCause(ctx)
		}
		byName[j.Name] = append(byName[j.Name], r)
		c.all = append(c.all, r)
	}
	for _, r := range c.all {
		for _, name := range r.DependsOn { // those that were not chosen are not waited for
			for _, before := range byName[name] {
				r.after = append(r.after, before)
				r.item.WaitFor(before.item)
			}
		}
	}
	return order, func() {
		for _, r := range c.all {
			r.cancel(nil)
		}
	}
}

// runAll runs every run in its turn and returns when all are over.
func (c *severalRuns) runAll(ctx context.Context, order *schedule.Schedule) {
	stuck := order.Start()
	var runs sync.WaitGroup
	for _, r := range c.all {
		if slices.Contains(stuck, r.item) { // the formats refuse cycles; what never ran is not green
			c.fail(r, event.CodeError, fmt.Errorf("pipeline %s waits for itself", r.Cell))
			continue
		}
		runs.Go(func() {
			<-r.item.Turn()
			defer r.item.End()
			c.take(ctx, r)
		})
	}
	runs.Wait()
}

// take runs a run whose turn it is, if those before it ended in a way for it to begin. When
// all of them have been interrupted, a run that has not begun is not planned any more.
func (c *severalRuns) take(ctx context.Context, r *severalRun) {
	for _, before := range r.after {
		r.failed = r.failed || before.failed
	}
	on := r.RunOn
	if on == (pipeline.RunOn{}) {
		on.Success = true
	}
	switch {
	case on.Success && !r.failed || on.Failure && r.failed:
	case r.failed:
		r.leftOut = "one before it failed"
		return
	default:
		r.leftOut = "none before it failed"
		return
	}
	if ctx.Err() != nil {
		c.fail(r, event.CodeInterrupted, nil)
		return
	}
	c.runOne(r)
}

func (c *severalRuns) runOne(r *severalRun) {
	options := c.options
	options.Position = r.position
	code, err := execute(r.cells, r.Job, c.machine, options)
	if err != nil {
		err = fmt.Errorf("%s: %w", r.Cell, Masked(err, r.Secrets))
		code = event.CodeError
	}
	if code == 0 {
		return
	}
	if r.failFast {
		r.cancel(errOtherCell)
	}
	c.fail(r, code, err)
}

// fail notes that a run failed.
func (c *severalRuns) fail(r *severalRun, code int, err error) {
	r.failed, r.err = true, err
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code = code
	}
	c.failed = append(c.failed, fmt.Sprintf("%s (%d)", r.Cell, code))
}

func (c *severalRuns) event(e *event.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.show(e)
}

// verdict says in a line how all of them ended.
func (c *severalRuns) verdict() string {
	what, units := "matrix", "cells"
	if slices.ContainsFunc(c.all, func(r *severalRun) bool { return r.Name != c.all[0].Name }) {
		what, units = "pipelines", "runs"
	}
	var notRun []string
	for _, r := range c.all {
		if r.leftOut != "" {
			notRun = append(notRun, fmt.Sprintf("%s (%s)", r.Cell, r.leftOut))
		}
	}
	good := len(c.all) - len(c.failed) - len(notRun)
	text := fmt.Sprintf("%s: %d of %d %s succeeded", what, good, len(c.all), units)
	if good == len(c.all) {
		text = fmt.Sprintf("%s: all %d %s succeeded", what, good, units)
	}
	if len(c.failed) > 0 {
		text += ", not " + strings.Join(c.failed, "; ")
	}
	if len(notRun) > 0 {
		text += "; not run: " + strings.Join(notRun, "; ")
	}
	return text
}

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

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
)

var errOtherCell = errors.New("another cell of the matrix failed, and the pipeline fails fast")

// severalRuns are the runs of several pipelines, and of the cells of a matrix: as many at
// once as there are CPUs, or as many as steps may run at once. A pipeline waits for those
// that it depends on.
type severalRuns struct {
	machine Machine
	options engine.Options // that all have in common
	show    func(event.Event)
	all     []*severalRun
	mu      sync.Mutex // guards the rest, and the display
	code    int        // of the run that failed first
	failed  []string
	notRun  []string
}

// severalRun is one of them.
type severalRun struct {
	*Job
	after  []*severalRun
	cells  context.Context         // of its pipeline
	cancel context.CancelCauseFunc // of cells
	over   bool                    // failed is final
	failed bool                    // it, or one that it waited for
	err    error
}

// All runs the jobs of a request to their end, and returns the exit code of the one that
// failed first. Events of the options get the events of all of them, one at a time. The
// error is stepexec's own and no step's; no secret is left in its text.
func All(ctx context.Context, jobs []*Job, o engine.Options) (code int, err error) {
	m := jobs[0].request.Machine
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
func execute(ctx context.Context, j *Job, m Machine, o engine.Options) (code int, err error) {
	defer func() { m.tellCrash(err, j.values) }()
	defer crash.Recover(&err)
	p, err := j.Plan(context.WithoutCancel(ctx))
	if err != nil {
		return event.CodeError, err
	}
	return Execute(ctx, p, m, o)
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
	if c.options.Parallel > 0 {
		limit, c.options.Slots = c.options.Parallel, make(chan struct{}, c.options.Parallel)
	}
	defer c.connect(ctx, jobs)()
	c.runAll(limit)
	c.event(event.Event{Kind: event.MatrixFinished, Time: time.Now(), Text: c.verdict()})
	if ctx.Err() != nil && c.code != 0 {
		c.code = event.CodeInterrupted
	}
	var errs []error
	for _, r := range c.all {
		errs = append(errs, r.err)
	}
	return c.code, errors.Join(errs...)
}

// connect makes the runs and finds out which wait for which. end must be called.
func (c *severalRuns) connect(ctx context.Context, jobs []*Job) (end func()) {
	byName := map[string][]*severalRun{}
	for _, j := range jobs {
		r := &severalRun{Job: j}
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
			r.after = append(r.after, byName[name]...)
		}
	}
	return func() {
		for _, r := range c.all {
			r.cancel(nil)
		}
	}
}

// runAll starts the runs in the order of the file, each as soon as those before it are
// over, and returns when all are.
func (c *severalRuns) runAll(limit int) {
	ended := make(chan *severalRun)
	waiting, running := slices.Clone(c.all), 0
	for {
		for i := 0; i < len(waiting) && running < limit; i++ {
			r := waiting[i]
			if !r.canDecide() {
				continue
			}
			waiting = slices.Delete(waiting, i, i+1)
			i = -1 // that it is over may let one before it begin
			if !r.runs() {
				c.leaveOut(r)
				r.over = true
				continue
			}
			running++
			go func() {
				c.runOne(r)
				ended <- r
			}()
		}
		if running == 0 {
			for _, r := range waiting { // the formats refuse cycles; what never ran is not green
				r.err = fmt.Errorf("pipeline %s waits for itself", r.Cell)
				c.failed = append(c.failed, r.Cell)
			}
			return
		}
		r := <-ended
		r.over, running = true, running-1
	}
}

// canDecide reports whether all that a run waits for is over.
func (r *severalRun) canDecide() bool {
	return !slices.ContainsFunc(r.after, func(before *severalRun) bool { return !before.over })
}

// runs reports whether those before a run ended in a way for it to begin.
func (r *severalRun) runs() bool {
	for _, before := range r.after {
		r.failed = r.failed || before.failed
	}
	on := r.RunOn
	if on == (pipeline.RunOn{}) {
		on.Success = true
	}
	return on.Success && !r.failed || on.Failure && r.failed
}

// leaveOut notes that a run is over without having begun.
func (c *severalRuns) leaveOut(r *severalRun) {
	why := "none before it failed"
	if r.failed {
		why = "one before it failed"
	}
	c.notRun = append(c.notRun, fmt.Sprintf("%s (%s)", r.Cell, why))
}

func (c *severalRuns) runOne(r *severalRun) {
	code, err := execute(r.cells, r.Job, c.machine, c.options)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", r.Cell, Masked(err, r.Secrets))
		code = event.CodeError
	}
	if code == 0 {
		return
	}
	r.failed = true
	if r.failFast {
		r.cancel(errOtherCell)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code = code
	}
	c.failed = append(c.failed, fmt.Sprintf("%s (%d)", r.Cell, code))
}

func (c *severalRuns) event(e event.Event) {
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
	good := len(c.all) - len(c.failed) - len(c.notRun)
	text := fmt.Sprintf("%s: %d of %d %s succeeded", what, good, len(c.all), units)
	if good == len(c.all) {
		text = fmt.Sprintf("%s: all %d %s succeeded", what, good, units)
	}
	if len(c.failed) > 0 {
		text += ", not " + strings.Join(c.failed, "; ")
	}
	if len(c.notRun) > 0 {
		text += "; not run: " + strings.Join(c.notRun, "; ")
	}
	return text
}

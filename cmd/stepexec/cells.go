package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

var errOtherCell = errors.New("another cell of the matrix failed, and the pipeline fails fast")

// chosenCells are the cells of the matrix that have all of the values AXIS=VALUE.
func chosenCells(p *pipeline.Pipeline, values []string) ([]pipeline.Cell, error) {
	var want pipeline.Cell
	for _, text := range values {
		axis, value, given := strings.Cut(text, "=")
		if !given {
			return nil, fmt.Errorf("--matrix %s: must be AXIS=VALUE", text)
		}
		want = append(want, pipeline.AxisValue{Axis: axis, Value: value})
	}
	cells := slices.DeleteFunc(p.Cells(), func(c pipeline.Cell) bool { return !c.Has(want) })
	if len(cells) == 0 {
		return nil, fmt.Errorf("--matrix %s: the matrix has no such cell", want)
	}
	return cells, nil
}

// cellRuns are the runs of a matrix: as many at once as there are CPUs, or as many as
// steps may run at once.
type cellRuns struct {
	on      sandbox.Options
	options engine.Options // that all have in common
	print   display
	mu      sync.Mutex // guards the rest, and the display
	code    int        // of the cell that failed first
	failed  []string
}

// run runs all cells to their end and returns the exit code of the one that failed first.
func (c *cellRuns) run(ctx context.Context, jobs []job) (int, error) {
	limit := runtime.NumCPU()
	c.options.Events = c.event
	if c.options.Parallel > 0 {
		limit, c.options.Slots = c.options.Parallel, make(chan struct{}, c.options.Parallel)
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group errgroup.Group
	group.SetLimit(limit)
	errs := make([]error, len(jobs))
	for i, job := range jobs {
		group.Go(func() error {
			var code int
			if code, errs[i] = c.cell(running, job); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", job.plan.Cell, masked(errs[i], job.secrets))
				code = engine.CodeError
			}
			c.ended(job.plan, code)
			if code != 0 && job.plan.FailFast {
				cancel(errOtherCell)
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs, all of them
	c.event(engine.Event{Kind: engine.MatrixFinished, Time: time.Now(), Text: c.verdict(len(jobs))})
	if ctx.Err() != nil && c.code != 0 {
		c.code = engine.CodeInterrupted
	}
	return c.code, errors.Join(errs...)
}

func (c *cellRuns) cell(ctx context.Context, job job) (int, error) {
	options := c.options
	options.Roots = job.roots
	return executePlan(ctx, job.plan, job.fetcher, job.settings, c.on, options)
}

func (c *cellRuns) event(e engine.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.print.Event(e)
}

func (c *cellRuns) ended(plan *pipeline.Plan, code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if code == 0 {
		return
	}
	if c.code == 0 {
		c.code = code
	}
	c.failed = append(c.failed, fmt.Sprintf("%s (%d)", plan.Cell, code))
}

func (c *cellRuns) verdict(all int) string {
	if len(c.failed) == 0 {
		return fmt.Sprintf("matrix: all %d cells succeeded", all)
	}
	return fmt.Sprintf("matrix: %d of %d cells succeeded, not %s", all-len(c.failed), all, strings.Join(c.failed, "; "))
}

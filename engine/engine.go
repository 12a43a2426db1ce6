package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
)

// DefaultGrace is the time a step has between the stop signal and the kill.
const DefaultGrace = 10 * time.Second

var (
	errTimeout     = errors.New("the pipeline's time is over")
	errStepTimeout = errors.New("the step's time is over")
)

// overdue says how long it was that is over.
func overdue(err error, timeout time.Duration) error {
	return fmt.Errorf("%w (timeout: %v)", err, timeout)
}

// Options say with what a plan is run.
type Options struct {
	Host        *sandbox.Host
	Fetcher     *fetch.Fetcher
	Grace       time.Duration                                // 0: DefaultGrace
	Cleanup     time.Duration                                // that steps which run always have after a cancel; 0: DefaultCleanup
	Cache       func(name string) (folder string, err error) // makes a named cache ready; nil: there are none
	Slots       chan struct{}                                // of several runs together: what it holds is how many steps run at once; nil: no limit
	Parallel    int                                          // steps that run at once, but for services and detached ones; 0: no limit
	OutputLimit int64                                        // bytes of a step's output that become events, head and tail of it; 0: DefaultOutputLimit
	Kill        <-chan struct{}                              // closed: running steps are killed, without the rest of their grace
	Events      func(event.Event)                            // called one at a time, from one goroutine; slow listeners slow the steps that print, and lose nothing
	Flush       func()                                       // called by the same goroutine when no more events wait; nil: not wanted

	// Serve, if not nil, is called once all steps have ended and all services are ready, and
	// the run goes on until it returns. Its error is one of stepexec's own.
	Serve func(context.Context, *Serving) error

	// Stdin is what a step reads whose input is that of stepexec; nil: such a step
	// is an error. Stdout and Stderr take what a plan of a single step prints, masked
	// and as it comes, in place of Line events; nil: events.
	Stdin          *os.File
	Stdout, Stderr io.Writer

	// Done are the results that an earlier run had of steps which are not run again, by
	// their names. In the Summary they are Skipped, with the Reason and DoneIn given here;
	// the Outputs go to the steps after them. Services and detached steps run always.
	Done map[string]event.StepResult

	KeepFailed bool // steps that fail are kept, as those that say so

	Shell *Shell // in steps that fail; nil: none

	// Terminal is the user's, which the terminals of steps are as large as; nil:
	// they have 80 by 24 characters. A step that reads it as Stdin gets every key,
	// also Ctrl-C.
	Terminal *os.File
}

// Run runs an admitted plan to its end and says how it ended. When ctx ends first,
// running steps are stopped and the others are cancelled. All that was made
// for the run but the images is gone when Run returns; the error says what
// could not be cleared away or written, and does not change the Summary.
func Run(ctx context.Context, admitted *policy.Plan, o Options) (event.Summary, error) {
	plan := admitted.Plan()
	began, shared := time.Now(), plan.WorkspaceSource
	plan, giveBack, err := ownWorkspace(ctx, plan, o.Host)
	if err != nil {
		return event.Summary{Run: o.Host.ID(), Name: plan.Name, Status: event.Failed, ExitCode: event.CodeError}, err
	}
	r := newRun(admitted, plan, o)
	r.feed = newFeed(o.Events, o.Flush)
	defer func() { _ = r.feed.close() }()
	r.shared, r.interrupt = shared, ctx
	r.emit(event.Event{Kind: event.RunStarted, Version: event.Version, Run: o.Host.ID(), Name: r.name(), Steps: len(plan.Steps) + len(plan.LeftOut)})
	if weak := r.mask.Weak(); weak > 0 {
		r.emit(event.Event{Kind: event.Warning, Text: fmt.Sprintf("%d of the secrets are shorter than 4 characters and cannot be masked in the output", weak)})
	}
	if plan.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, plan.Timeout, overdue(errTimeout, plan.Timeout))
		defer cancel()
	}
	for _, step := range r.leftOut() {
		r.emit(event.Event{Kind: event.StepFinished, Step: step.Step, Result: &step})
	}
	r.takeDone()
	r.runAll(ctx)
	r.keepErr(giveBack())
	r.keepErr(o.Fetcher.Store.Settle())
	summary := r.summary(ctx, time.Since(began))
	r.emit(event.Event{Kind: event.RunFinished, Summary: &summary})
	r.keepErr(r.feed.close())
	return summary, r.mask.Error(r.err)
}

// run is a plan that is being run.
type run struct {
	// Fixed before the first step begins.
	admitted  *policy.Plan   // as package policy admitted it
	plan      *pipeline.Plan // the admitted plan; with a workspace of its own, a copy that names it
	o         Options
	fixed     *logs.Mask      // masks the run's secrets; used for names, which must not change during the run
	shared    string          // workspace that the run's own was copied from, or the run's workspace itself
	nodes     []*node         // services first, then steps, in the order of the plan
	services  []*node         // those of nodes
	life      lifetimes       // how long steps may live
	interrupt context.Context // ends when the run is interrupted, but not with the run's time

	// These have locks of their own.
	mask      *logs.Mask // masks the run's secrets and the values that steps had masked
	maskFiles maskFiles
	feed      *feed
	images    *fetch.Images
	turns     *turns
	made      atomic.Int64   // number of nodes made so far
	ahead     chan struct{}  // has an element for each step that is prepared ahead of its turn
	removing  chan struct{}  // has an element for each step that is being removed
	removals  sync.WaitGroup // removals of ended steps

	mu     sync.Mutex // guards the rest
	first  *outcome   // outcome of the first step that made the run fail; nil: none
	failed []string   // names of the steps that made the run fail
	halted string     // why no further step begins; "": steps may begin
	err    error      // what could not be cleared away or written, and other errors of stepexec itself
}

func newRun(admitted *policy.Plan, plan *pipeline.Plan, o Options) *run {
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Cleanup == 0 {
		o.Cleanup = DefaultCleanup
	}
	fixed := logs.NewMask(plan.Secrets)
	r := &run{admitted: admitted, plan: plan, o: o, fixed: fixed, mask: fixed.Clone(), ahead: make(chan struct{}, maxAhead), removing: make(chan struct{}, maxRemovals)}
	r.maskFiles = maskFiles{run: r, known: map[string]bool{}}
	byName := map[string]*node{}
	add := func(step *pipeline.PlannedStep, service bool) {
		n := r.newNode(step, service)
		if done, ok := o.Done[step.Name]; ok && !n.isBeside() {
			n.done = &done
		}
		r.nodes = append(r.nodes, n)
		if service {
			r.services = append(r.services, n)
		}
		byName[step.Name] = n
	}
	for i := range plan.Services {
		add(&plan.Services[i], true)
	}
	for i := range plan.Steps {
		add(&plan.Steps[i], false)
	}
	for _, n := range r.nodes {
		for _, name := range n.step.DependsOn {
			n.deps = append(n.deps, byName[name])
		}
		for _, name := range n.step.Needs {
			n.needs = append(n.needs, byName[name])
		}
		for _, before := range n.before() {
			if name := before.step.Name; !slices.Contains(n.result.DependsOn, name) {
				n.result.DependsOn = append(n.result.DependsOn, name)
			}
		}
	}
	r.turns = newTurns(r.nodes, o.Parallel)
	return r
}

// runAll starts a goroutine for each node and waits for all. Services outlive the steps,
// also after an interrupt: a step that is being stopped may need them.
func (r *run) runAll(ctx context.Context) {
	var endLifetimes func()
	r.life, endLifetimes = r.newLifetimes(ctx)
	defer endLifetimes()
	r.images = r.newImages(r.life.always)
	defer r.images.Close()
	r.images.Prefetch(ctx, prefetched(r.nodes))
	var steps, asking sync.WaitGroup
	defer asking.Wait()
	var beside []companion
	for _, n := range r.nodes {
		if n.done != nil {
			continue
		}
		if !n.service {
			asking.Go(func() { r.await(n) })
		}
		if n.isBeside() {
			beside = append(beside, r.startBeside(ctx, n))
		} else {
			steps.Go(func() { r.runStep(r.life.of(n), context.WithoutCancel(ctx), n) })
		}
	}
	steps.Wait()
	r.serveOthers(ctx)
	stopBeside(beside)
	r.removals.Wait()
}

// keepErr keeps an error that is stepexec's own and no step's. Several steps can report the
// same one.
func (r *run) keepErr(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || !errors.Is(r.err, err) {
		r.err = errors.Join(r.err, err)
	}
}

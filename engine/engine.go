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
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
)

// DefaultGrace is the time a step has between the stop signal and the kill.
const DefaultGrace = 10 * time.Second

// parallelPulls bounds how many images are fetched at once. Each of them
// unpacks its layers in parallel; two keep a link and the cores busy.
const parallelPulls = 2

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
	Fetcher     *Fetcher
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

// run is a plan under way.
type run struct {
	admitted *policy.Plan
	plan     *pipeline.Plan // the admitted one, with a workspace of its own where it has one
	o        Options
	fixed    *logs.Mask // of the run's secrets, for names: they must not change on the way
	mask     *logs.Mask // of those and what steps have masked
	feed     *feed
	images   *images
	shared   string       // workspace that the run's own has begun as, or the same
	nodes    []*node      // services first, then steps, as in the plan
	made     atomic.Int64 // nodes so far

	maskFiles maskFiles

	services []*node
	turns    *turns
	ahead    chan struct{} // holds as many as are prepared ahead of their turn
	life     lifetimes
	removals sync.WaitGroup // of steps that have ended
	removing chan struct{}  // holds as many as these are

	interrupt context.Context // ends when the run is interrupted, but not with its time

	mu     sync.Mutex // guards the rest
	first  *event.StepResult
	failed []string // names of the steps that made it fail
	halted string   // why no further step begins; "" is that they do
	err    error
}

// node is a step, or a service, of a run.
type node struct {
	step      *pipeline.PlannedStep
	at        int               // its place in the plan
	done      *event.StepResult // of the earlier run that has done it; nil: it is to run
	id        string            // of its sandbox
	firstID   string            // of that of its first attempt
	deps      []*node
	asked     bool            // for its turn; guarded by turns
	isAhead   bool            // it is one of those that are prepared ahead
	turn      chan struct{}   // closed when it may run
	waitedFor string          // the step that it waited for last; final when turn is closed
	eligible  time.Time       // when that was over; final when turn is closed
	granted   time.Time       // when it got its turn; final when turn is closed
	tried     []event.Attempt // so far
	exports   exports         // variables for those that depend on it, its own and those it got
	inherited []string        // NAME=value of those it got, and takes
	needs     []*node         // services that must be ready
	begun     chan struct{}   // closed once its turn has come, or it is prepared ahead of that
	beginning sync.Once
	runs      bool          // its command has run
	ended     chan struct{} // closed once result and failed are final
	result    event.StepResult
	left      *leftRoot // of its last attempt; nil: nothing
	failed    bool      // it, or a step it depends on, failed

	extra *Extra // nil: it is one of the plan's

	// Of a service and a detached step:
	stop    func()        // ends serving
	ready   chan struct{} // closed once it is ready, or it is decided that it will not be; failed is final then
	settled sync.Once
	inside  sync.RWMutex     // held for reading by those who run programs in box
	box     *sandbox.Sandbox // nil: it has not started, or has ended
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
	r.images = newImages(r)
	byName := map[string]*node{}
	add := func(step *pipeline.PlannedStep, service bool) {
		n := r.newNode(step, service)
		n.at = len(r.nodes)
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
			if name := before.result.Step; !slices.Contains(n.result.DependsOn, name) {
				n.result.DependsOn = append(n.result.DependsOn, name)
			}
		}
	}
	r.turns = newTurns(r.nodes, o.Parallel)
	return r
}

func (r *run) newNode(step *pipeline.PlannedStep, service bool) *node {
	id := fmt.Sprint(r.made.Add(1))
	return &node{
		step: step, id: id, firstID: id, turn: make(chan struct{}),
		begun: make(chan struct{}), ended: make(chan struct{}), ready: make(chan struct{}),
		result: event.StepResult{Step: step.Name, Service: service, Detached: step.Detach, File: r.plan.File, Line: step.Line, Image: step.Image, Reason: step.Reason, Status: event.Pending},
	}
}

// runAll starts a goroutine a node and waits for all. Services outlive the
// steps, also on an interrupt: a step that is being stopped may need them.
func (r *run) runAll(ctx context.Context) {
	var endLifetimes func()
	r.life, endLifetimes = r.newLifetimes(ctx)
	defer endLifetimes()
	stopImages := r.images.prefetch(ctx, r.life.always, r.nodes)
	defer stopImages()
	var steps, asking sync.WaitGroup
	defer asking.Wait()
	for _, n := range r.nodes {
		if n.done != nil {
			continue
		}
		if !n.result.Service {
			asking.Go(func() { r.await(n) })
		}
		if n.isBeside() {
			r.startBeside(ctx, n)
		} else {
			steps.Go(func() { r.runStep(r.life.of(n), context.WithoutCancel(ctx), n) })
		}
	}
	steps.Wait()
	r.serveOthers(ctx)
	r.stopBeside()
	r.removals.Wait()
}

// name is that of the pipeline, with the cell of its matrix; emit and summary mask it.
func (r *run) name() string {
	if r.plan.Cell == "" || r.plan.Cell == r.plan.Name {
		return r.plan.Name
	}
	return r.plan.Name + " (" + r.plan.Cell + ")"
}

// keepErr keeps an error that is stepexec's own and no step's.
func (r *run) keepErr(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
}

// summary is the run's end. The exit code is that of the step that failed
// first, unless the run as a whole was ended.
func (r *run) summary(ctx context.Context, took time.Duration) event.Summary {
	s := event.Summary{Run: r.o.Host.ID(), Name: r.fixed.String(r.name()), Status: event.Succeeded, Duration: event.Millis(took)}
	for _, n := range r.nodes {
		s.Steps = append(s.Steps, n.result)
	}
	for i, step := range r.leftOut() {
		s.Steps = slices.Insert(s.Steps, len(r.services)+r.plan.LeftOut[i].Before+i, step)
	}
	if r.first != nil {
		s.Status, s.ExitCode = r.first.Status, r.first.ExitCode
	}
	if ctx.Err() != nil && r.cutShort() {
		s.Status, s.ExitCode = endedBy(ctx)
		s.Error = r.mask.String(context.Cause(ctx).Error())
	}
	if s.Status != event.Succeeded && s.ExitCode == 0 {
		s.ExitCode = event.CodeError // a failure is never green
	}
	for i := range s.Steps {
		s.Steps[i] = r.shown(s.Steps[i])
	}
	return s
}

// leftOut are the results of the steps whose conditions do not hold.
func (r *run) leftOut() []event.StepResult {
	var results []event.StepResult
	for _, step := range r.plan.LeftOut {
		results = append(results, event.StepResult{Step: step.Name, File: r.plan.File, Line: step.Line, Image: step.Image, Status: event.Skipped, Reason: step.Reason})
	}
	return results
}

// cutShort reports whether the end of the run's context ended any step.
func (r *run) cutShort() bool {
	for _, n := range r.nodes {
		if n.result.Status == event.Cancelled || n.result.Status == event.TimedOut {
			return true
		}
	}
	return false
}

// endedBy says what a context that has ended means for what ran under it.
func endedBy(ctx context.Context) (event.Status, int) {
	if cause := context.Cause(ctx); errors.Is(cause, errTimeout) || errors.Is(cause, errStepTimeout) {
		return event.TimedOut, event.CodeTimeout
	}
	return event.Cancelled, event.CodeInterrupted
}

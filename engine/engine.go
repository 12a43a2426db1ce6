package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/schedule"
)

// DefaultGrace is the time between the stop signal and SIGKILL.
const DefaultGrace = 10 * time.Second

var (
	errTimeout     = errors.New("the pipeline's time is over")
	errStepTimeout = errors.New("the step's time is over")
)

// overdue adds to an error how long the time was that is over.
func overdue(err error, timeout time.Duration) error {
	return fmt.Errorf("%w (timeout: %s)", err, pipeline.DurationText(timeout))
}

// Options are the settings of a run. What is left at its zero value makes a plain run: it
// runs the steps of its plan and ends with them.
type Options struct {
	Host    *sandbox.Host
	Fetcher *fetch.Fetcher

	// Events is called with one event at a time, from one goroutine; a slow listener slows
	// the steps that print, and loses nothing. The listener must not change the event, nor
	// keep the pointer: to copy the event of each line for each listener took a tenth of the
	// time of plain output. The same goroutine calls Flush when no more events wait. Both may
	// be nil.
	Events func(*event.Event)
	Flush  func()

	Build    event.Build // what is built, for the run's first event; zero: not known
	Position int         // place of the run among those of its file, for the first event, from 1; 0: the only run

	// Cache makes a named cache ready; nil: there are no caches.
	Cache func(name string) (folder string, err error)

	// TraceParent is the value of TRACEPARENT for a step, by its name; nil or "": steps have none from here.
	TraceParent func(step string) string

	Keyed *KeyedCaches // nil: keyed caches begin empty, and are not saved

	// Artifacts takes the files that steps leave; nil: a step with artifacts fails.
	Artifacts *artifact.Folder

	Limits    Limits
	Stop      Stop
	Streams   Streams
	OnFailure OnFailure
	Shell     *Shell // opens shells in steps; nil: none

	// Done makes the run a rerun: it has the results that an earlier run had of steps which
	// are not to run again, by name. In the Summary these are Skipped, with the Reason and
	// DoneIn given here, and their Outputs go to the steps after them. Services and detached
	// steps always run.
	Done map[string]event.StepResult

	// Serve makes the run last: it is called once all steps have ended and all services are
	// ready, and the run goes on until it returns. Its error is one of stepexec's own.
	Serve func(context.Context, *Serving) error
}

// Limits bound what runs at once and what is shown.
type Limits struct {
	Parallel int           // steps of this run that run at once, without services and detached steps; 0: no limit
	Slots    chan struct{} // shared by several runs: its capacity is the number of their steps that run at once; nil: no limit
	Output   int64         // bytes of a step's output that become events, its head and its tail; 0: DefaultOutputLimit
}

// Stop is how steps are stopped.
type Stop struct {
	Grace   time.Duration   // between the stop signal and SIGKILL; 0: DefaultGrace
	Cleanup time.Duration   // for steps that always run, after the run was cancelled; 0: DefaultCleanup
	Kill    <-chan struct{} // closed: running steps are killed without the rest of their grace
}

// Streams connect the steps of a run with the process.
type Streams struct {
	Stdin *os.File // for a step whose input is that of stepexec; nil: such a step is an error

	// Stdout and Stderr take the output of a plan with a single step, masked and unchanged,
	// in place of Line events; nil: events. Where only Stderr is nil, the step has one pipe
	// for both, and Stdout takes them in the order in which the step writes.
	Stdout, Stderr io.Writer

	// Apart gives stdout and stderr of a step a pipe each, and their lines an event.Stream
	// each. The order of a line of one and a line of the other is then lost when the step
	// writes both at once. Otherwise, they share a pipe, and all lines are of event.Stdout.
	Apart bool

	// Terminal is the user's. The terminals of steps have its size; nil: they have 80 by 24
	// characters. A step that reads it as Stdin gets every key, also Ctrl-C.
	Terminal *os.File
}

// OnFailure is what is done with a step that fails.
type OnFailure struct {
	Keep bool // keep the step, as if the plan said so
}

// Run runs an admitted plan to its end and returns how it ended. When ctx ends first,
// running steps are stopped and the others are cancelled. When Run returns, everything that
// was made for the run is gone, except the images. The error says what could not be cleared
// away or written, or which bug of stepexec a step met; it does not change the Summary.
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
	r.emit(event.Event{Kind: event.RunStarted, Version: event.Version, Run: o.Host.ID(), Name: r.name(), Position: o.Position, Steps: len(plan.Steps) + len(plan.LeftOut), Build: r.build()})
	if weak := r.mask.Weak(); weak > 0 {
		r.emit(event.Event{Kind: event.Warning, Text: weakSecrets(weak)})
	}
	r.warnOfWithheld()
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

// build is what the run's first event says of what is built; nil: nothing is known.
func (r *run) build() *event.Build {
	if r.o.Build == (event.Build{}) {
		return nil
	}
	return new(r.o.Build.Shown(r.fixed.String))
}

// warnOfWithheld says which variables the policy keeps from steps that may need them.
func (r *run) warnOfWithheld() {
	for _, n := range r.nodes {
		if names := n.step.Withheld; len(names) > 0 {
			r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: fmt.Sprintf(
				"%s: not passed to image %s, which is privileged and gets only PLUGIN_*, CI_* and DRONE_* variables", strings.Join(names, ", "), n.step.Image)})
		}
	}
}

// run is a plan that is being run.
type run struct {
	// Fixed before the first step begins.
	admitted  *policy.Plan   // as package policy admitted it
	plan      *pipeline.Plan // the admitted plan; with a workspace of its own, a copy that names it
	o         Options
	fixed     *logs.Mask                     // masks the run's secrets; used for names, which must not change during the run
	places    func(path string) beneath.Path // see imagePlaces
	shared    string                         // workspace that the run's own was copied from, or the run's workspace itself
	nodes     []*node                        // services first, then steps, in the order of the plan
	services  []*node                        // those of nodes
	life      lifetimes                      // how long steps may live
	interrupt context.Context                // ends when the run is interrupted, but not with the run's time

	// These have locks of their own.
	mask      *logs.Mask // masks the run's secrets and the values that steps had masked
	maskFiles maskFiles
	saves     saves
	feed      *feed
	images    *fetch.Images
	order     *schedule.Schedule
	made      atomic.Int64   // number of nodes made so far
	ahead     chan struct{}  // has an element for each step that is prepared ahead of its turn
	removing  chan struct{}  // has an element for each step that is being removed
	removals  sync.WaitGroup // removals of ended steps

	mu     sync.Mutex         // guards the rest
	added  []event.StepResult // ends of steps that were added while the run lasted
	first  *outcome           // outcome of the first step that made the run fail; nil: none
	failed []string           // names of the steps that made the run fail
	halted string             // why no further step begins; "": steps may begin
	err    error              // what could not be cleared away or written, and other errors of stepexec itself
}

func newRun(admitted *policy.Plan, plan *pipeline.Plan, o Options) *run {
	if o.Stop.Grace == 0 {
		o.Stop.Grace = DefaultGrace
	}
	if o.Stop.Cleanup == 0 {
		o.Stop.Cleanup = DefaultCleanup
	}
	fixed := admitted.Mask()
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
			before.life.after = append(before.life.after, n.life)
			if name := before.step.Name; !slices.Contains(n.result.DependsOn, name) {
				n.result.DependsOn = append(n.result.DependsOn, name)
			}
		}
	}
	r.order = newOrder(r.nodes, o.Limits.Parallel)
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
	network := r.makeNetwork(ctx)
	defer func() { r.keepErr(network.Wait()) }()
	r.order.Start() // a plan has no cycles, so that every step has its turn
	var steps sync.WaitGroup
	var beside []companion
	for _, n := range r.nodes {
		if n.done != nil {
			continue
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
	r.saves.all.Wait()
	r.removals.Wait()
}

// makeNetwork begins to make the network of private steps while images are looked up. The group's
// error is a panic.
func (r *run) makeNetwork(ctx context.Context) *crash.Group {
	ahead := &crash.Group{}
	isPrivate := func(n *node) bool { return n.done == nil && n.step.Network == sandbox.NetworkPrivate }
	if slices.ContainsFunc(r.nodes, isPrivate) {
		ahead.Go(func() { _ = r.o.Host.MakeNetwork(ctx) }) // the steps say why there is none
	}
	return ahead
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

// weakSecrets says that some secrets cannot be masked.
func weakSecrets(n int) string {
	if n == 1 {
		return "one of the secrets is shorter than 4 characters and cannot be masked in the output"
	}
	return fmt.Sprintf("%d of the secrets are shorter than 4 characters and cannot be masked in the output", n)
}

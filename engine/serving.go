package engine

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
)

// Serving is a run whose services are ready, and which lasts until Options.Serve returns.
// Its methods may be called by several goroutines until then.
type Serving struct {
	run     *run
	lasting context.Context // ends with the run
}

// serveOthers waits until all services are ready and then calls Options.Serve. A service
// that does not become ready fails the run, and Serve is not called.
func (r *run) serveOthers(ctx context.Context) {
	if r.o.Serve == nil {
		return
	}
	if !r.areReady() || ctx.Err() != nil {
		return
	}
	// The end of the run would have to wait for it. It may take seconds after a pull.
	var settling crash.Group
	settling.Go(func() { r.keepErr(r.o.Fetcher.Store.Settle()) })
	_ = r.protect(func() { r.keepErr(r.o.Serve(ctx, &Serving{run: r, lasting: ctx})) })
	r.keepErr(settling.Wait())
}

// areReady waits until all services are ready, or one has failed.
func (r *run) areReady() bool {
	ready := make(chan bool, len(r.services))
	for _, n := range r.services {
		go func() { // ends with the service
			<-n.life.reached(settled)
			ready <- !n.life.hasFailed()
		}()
	}
	for range r.services {
		if !<-ready {
			return false
		}
	}
	return true
}

// Plan is the plan of the run. It admits the steps and programs that are added while the
// run lasts.
func (s *Serving) Plan() *policy.Plan { return s.run.admitted }

// ID is the ID of the run.
func (s *Serving) ID() string { return s.run.o.Host.ID() }

// Lend lets users of the run's containers write to what is new in a folder: see sandbox.Host.Lend.
func (s *Serving) Lend(path string) error { return s.run.o.Host.Lend(path) }

// Exec runs one more program in a service's container, as Sandbox.Exec does. It fails if
// the service has ended. name names the program among the steps of the run's Summary.
func (s *Serving) Exec(ctx context.Context, service *policy.Joined, name string, o sandbox.ExecOptions) (exit sandbox.Exit, err error) {
	result := event.StepResult{Step: name, Started: time.Now()}
	s.run.emit(event.Event{Kind: event.StepStarted, Step: name})
	err = s.in(service.Service(), func(box *sandbox.Sandbox) error {
		result.Image = box.Image()
		exit, err = box.Exec(ctx, o)
		return err
	})
	end := outcomeOf(ctx, exit, err, nil)
	if end.status == event.Failed && exit.OOM {
		end.code = exit.Code
	}
	result.Duration, result.OOM, result.Usage = event.Millis(time.Since(result.Started)), exit.OOM, usageOf(exit.Usage)
	s.run.add(result, end)
	return exit, err
}

// ServeExecs makes Exec in a service's container fast: see Sandbox.ServeExecs.
func (s *Serving) ServeExecs(ctx context.Context, service string) error {
	return s.in(service, func(box *sandbox.Sandbox) error { return box.ServeExecs(ctx) })
}

// add records the end of a step that was added while the run lasted.
func (r *run) add(result event.StepResult, end outcome) {
	result.Status, result.ExitCode = end.status, end.code
	if end.err != nil {
		result.Error = r.mask.String(end.err.Error())
	}
	r.mu.Lock()
	r.added = append(r.added, result)
	if result.FailsRun() && r.first == nil {
		r.first = &end
	}
	r.mu.Unlock()
	r.emit(event.Event{Kind: event.StepFinished, Step: result.Step, Result: &result})
}

// ReadFile reads a small file of a service's root file system, as Sandbox.ReadFile does.
func (s *Serving) ReadFile(service, name string) (data []byte, err error) {
	err = s.in(service, func(box *sandbox.Sandbox) error {
		data, err = box.ReadFile(name)
		return err
	})
	return data, err
}

// Ended returns how a service has ended, or nil while it runs. It waits until whoever listens
// to the run has heard of the end, and of all that the service printed.
func (s *Serving) Ended(service string) *event.StepResult {
	for _, n := range s.run.services {
		if n.step.Name == service && n.life.has(ended) {
			s.run.feed.settle()
			result := s.run.shown(n.result)
			return &result
		}
	}
	return nil
}

// in keeps the container of a service while it is used.
func (s *Serving) in(service string, use func(*sandbox.Sandbox) error) error {
	i := slices.IndexFunc(s.run.services, func(n *node) bool { return n.step.Name == service })
	if i < 0 {
		return fmt.Errorf("there is no service %s", service)
	}
	door := &s.run.services[i].inside
	door.mu.RLock()
	defer door.mu.RUnlock()
	if door.box == nil {
		return fmt.Errorf("service %s has ended", service)
	}
	return use(door.box)
}

// door lets others run programs in a step's container while the step runs.
type door struct {
	mu  sync.RWMutex     // guards box; held for reading while a program runs inside
	box *sandbox.Sandbox // nil: the step has not started, or has ended
}

// open lets others in.
func (d *door) open(box *sandbox.Sandbox) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.box = box
}

// close waits until everyone is out: when the main process of a container ends, the kernel
// ends the others.
func (d *door) close() { d.open(nil) }

// Extra is one more step of a run that serves.
type Extra struct {
	Step           *policy.Step
	Keychain       authn.Keychain // credentials for its image; nil: those of the run
	Stdout, Stderr io.Writer      // take what it prints, masked; Stderr is nil: Stdout takes both, in the order of the writes
}

// Run runs one more step, which shares the run's services, network, volumes and secrets.
// It is stopped when ctx or the run ends. Its failure makes nothing else fail, but the run.
func (s *Serving) Run(ctx context.Context, e Extra) event.StepResult {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.lasting, func() { cancel(context.Cause(s.lasting)) })()
	step := e.Step.Step()
	n := s.run.newNode(&step, false)
	n.extra = &e
	defer n.life.move(ended)
	n.life.move(starting)
	var end outcome
	if err := s.run.protect(func() { end = s.run.attempts(ctx, n, nil) }); err != nil {
		end = outcome{event.Failed, event.CodeError, err}
	}
	n.result.Status, n.result.ExitCode = end.status, end.code
	if end.err != nil {
		n.result.Error = s.run.mask.String(end.err.Error())
	}
	s.run.add(n.result, end)
	return n.result
}

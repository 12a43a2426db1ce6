package engine

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
)

// Serving is a run whose services are ready and that goes on until Options.Serve returns.
// Its methods may be called by several goroutines, and not after that.
type Serving struct {
	run     *run
	running context.Context
}

// serveOthers waits until all services are ready and lends the run to Options.Serve. A
// service that does not become ready fails the run, and Serve is not called.
func (r *run) serveOthers(ctx context.Context) {
	if r.o.Serve == nil {
		return
	}
	for _, n := range r.services {
		<-n.ready
		if n.failed {
			return
		}
	}
	if ctx.Err() == nil {
		_ = r.protect(func() { r.keepErr(r.o.Serve(ctx, &Serving{run: r, running: ctx})) })
	}
}

// Plan is the plan of the run, which admits what comes to it while it goes on.
func (s *Serving) Plan() *policy.Plan { return s.run.admitted }

// ID is the run's.
func (s *Serving) ID() string { return s.run.o.Host.ID() }

// Exec runs one more program in a service's container, as Sandbox.Exec does. It is an error
// when the service has ended.
func (s *Serving) Exec(ctx context.Context, service *policy.Joined, o sandbox.ExecOptions) (exit sandbox.Exit, err error) {
	err = s.in(service.Service(), func(box *sandbox.Sandbox) error {
		exit, err = box.Exec(ctx, o)
		return err
	})
	return exit, err
}

// ReadFile reads a small file of a service's root file system, as Sandbox.ReadFile does.
func (s *Serving) ReadFile(service, name string) (data []byte, err error) {
	err = s.in(service, func(box *sandbox.Sandbox) error {
		data, err = box.ReadFile(name)
		return err
	})
	return data, err
}

// in holds the container of a service while it is used.
func (s *Serving) in(service string, use func(*sandbox.Sandbox) error) error {
	i := slices.IndexFunc(s.run.services, func(n *node) bool { return n.step.Name == service })
	if i < 0 {
		return fmt.Errorf("there is no service %s", service)
	}
	n := s.run.services[i]
	n.inside.RLock()
	defer n.inside.RUnlock()
	if n.box == nil {
		return fmt.Errorf("service %s has ended", service)
	}
	return use(n.box)
}

// enter lets others into a step's container, leave waits until they are out: when its main
// process has ended, the kernel ends theirs.
func (n *node) enter(box *sandbox.Sandbox) {
	n.inside.Lock()
	defer n.inside.Unlock()
	n.box = box
}

func (n *node) leave() { n.enter(nil) }

// Extra is one more step of a run that serves.
type Extra struct {
	Step           *policy.Step
	Keychain       authn.Keychain // finds the credentials for its image; nil: that of the run
	Stdout, Stderr io.Writer      // take what it prints, masked
}

// Run runs one more step, which shares the run's services, network, volumes and secrets.
// When ctx or the run ends first, it is stopped. It is no part of the run's Summary, and
// its failure fails nothing else.
func (s *Serving) Run(ctx context.Context, e Extra) event.StepResult {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.running, func() { cancel(context.Cause(s.running)) })()
	step := e.Step.Step()
	n := s.run.newNode(&step, false)
	n.extra = &e
	var end outcome
	if err := s.run.protect(func() { end = s.run.attempts(ctx, n, nil) }); err != nil {
		end = outcome{event.Failed, event.CodeError, err}
	}
	n.result.Status, n.result.ExitCode = end.status, end.code
	if end.err != nil {
		n.result.Error = s.run.mask.String(end.err.Error())
	}
	return n.result
}

// image is a step's, fetched by those who may.
func (r *run) image(ctx context.Context, n *node) (*Image, error) {
	if n.extra == nil || n.extra.Keychain == nil {
		return r.images.get(ctx, n.step)
	}
	fetcher := r.o.Fetcher.For(n.step.Platform)
	fetcher.Options.Keychain = n.extra.Keychain
	return fetcher.Fetch(ctx, n.step.Image, n.step.Pull)
}

package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/sandbox"
)

// stopGrace is the time between SIGTERM and SIGKILL that a program has when the runner
// cancels: the runner kills the hook 10 s after its first signal.
const stopGrace = 4 * time.Second

// order is what the hook starts a keeper with.
type order struct {
	Args    Args
	Folder  string // of the job; it exists
	Network string // of containers that do not say otherwise
	Temp    string // RUNNER_TEMP: the job ends when this folder is gone; "": it is not looked at
	Folders folders
}

// Keeper keeps the containers of one job.
type Keeper struct {
	Read    ReadOptions
	Execute runner.Execute
}

// Keep reads an order, starts the job's containers, tells the hook how that went, and does
// what later calls ask for until one of them ends the job, or ctx does. All of the job is gone
// when it returns.
func (k *Keeper) Keep(ctx context.Context, in io.Reader, voice *Voice) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	lock, err := lockFolder(ctx, o.Folder)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer beneath.RemoveAll(o.Folder) // whoever waits for the lock removes it too
	err = runner.Protect(voice.Say, "the job", func() error { return k.keep(ctx, &o, voice) })
	if err != nil {
		_ = voice.end(report{Failed: err.Error()}) // the hook may be gone
	}
	return err
}

func (k *Keeper) keep(ctx context.Context, o *order, voice *Voice) error {
	j, err := newJob(&o.Args, k.Read, o.Network)
	if err != nil {
		return err
	}
	for _, warning := range j.warnings {
		voice.Say("warning: " + warning)
	}
	listener, err := listen(o.Folder)
	if err != nil {
		return fmt.Errorf("make the job's socket: %w", err)
	}
	ending, end := context.WithCancelCause(ctx)
	s := &server{keeper: k, job: j, listener: listener, folder: o.Folder, voice: voice, kill: make(chan struct{}), ending: ending, end: end}
	watching := s.watch(ending, o.Temp)
	defer watching.Wait()
	defer end(nil)
	defer listener.Close() // until here it can be told who the keeper is, to kill it
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ending, func() {
		if !s.start.isReady() { // a job that is ready ends well: its services are stopped
			cancel(context.Cause(ending))
		}
	})()
	err = k.Execute(ctx, run.Work{
		Pipeline: &j.pipeline, Logins: j.logins, Kill: s.kill, Events: s.start.event(voice), Serve: s.serve,
		Inputs: pipeline.Inputs{Mode: pipeline.ForJob, Dir: "/", LookupEnv: os.LookupEnv}, Default: o.Folders.policy(o.Network == sandbox.NetworkHost),
	})
	if cause := context.Cause(ending); cause != nil && !s.start.isReady() {
		return errors.Join(cause, err)
	}
	if err == nil && !s.start.isReady() {
		err = fmt.Errorf("the job's containers could not be started%s", s.start.reasons())
	}
	return err
}

// server does what calls ask for.
type server struct {
	keeper   *Keeper
	job      *job
	listener *net.UnixListener
	folder   string
	voice    *Voice
	start    start
	kill     chan struct{}           // closed: what runs is killed without grace
	ending   context.Context         // ends when the job shall end
	end      context.CancelCauseFunc // ends it
	calls    sync.WaitGroup          // those that use serving

	mu      sync.Mutex
	serving *engine.Serving // nil: the job is not ready yet, or is over
}

// start is what is known about the start of the job's containers. The goroutine that delivers
// events and the one that serves calls both use it.
type start struct {
	mu    sync.Mutex
	ready bool
	why   string // reasons why containers did not start
}

// event tells the hook what goes on until the job is ready.
func (s *start) event(voice *Voice) func(event.Event) {
	return func(e event.Event) {
		switch e.Kind {
		case event.PullStarted:
			voice.Say("pull " + e.Image)
		case event.Warning:
			voice.Say("warning: " + e.Text)
		case event.StepFinished:
			s.ended(e.Result)
		}
	}
}

// ended notes the end of a container.
func (s *start) ended(r *event.StepResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ready:
	case r.Error != "":
		s.why += fmt.Sprintf("; %s: %s", r.Step, r.Error)
	case r.Status == event.Failed || r.NotReady:
		s.why += fmt.Sprintf("; %s ended with exit code %d", r.Step, r.ExitCode)
	}
}

func (s *start) reasons() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

func (s *start) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

func (s *start) setReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}

// serve tells the hook that all is ready, and returns when the job ends and no call uses its
// containers any more.
func (s *server) serve(ctx context.Context, serving *engine.Serving) error {
	s.setServing(serving) // before the hook hears of it
	err := s.respond(serving)
	if err == nil {
		select {
		case <-s.ending.Done():
		case <-ctx.Done():
		}
	}
	s.setServing(nil)
	s.calls.Wait()
	return err
}

func (s *server) setServing(serving *engine.Serving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = serving
}

// use is the job's run for one call, which calls done when it no longer needs it; nil where
// there is none.
func (s *server) use() (serving *engine.Serving, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving == nil {
		return nil, nil
	}
	s.calls.Add(1)
	return s.serving, s.calls.Done
}

// respond fills in what is known about the containers now.
func (s *server) respond(serving *engine.Serving) error {
	r := &s.job.response
	r.State.Job = s.folder
	if c := r.Context.Container; c != nil {
		c.ID, c.Network = hexID(serving.ID(), jobName), s.network(serving, jobName)
		release, err := alpine(serving)
		if err != nil {
			return err
		}
		r.IsAlpine = release
	}
	for i := range r.Context.Services {
		name := s.job.pipeline.Services[i].Name
		r.Context.Services[i].ID, r.Context.Services[i].Network = hexID(serving.ID(), name), s.network(serving, name)
	}
	s.start.setReady()
	return s.voice.end(report{Ready: r})
}

// network is a name for a container's network. The runner shows it, and does nothing else with it.
func (s *server) network(serving *engine.Serving, service string) string {
	i := slices.IndexFunc(s.job.pipeline.Services, func(step pipeline.Step) bool { return step.Name == service })
	if network := s.job.pipeline.Services[i].Network; network != "private" {
		return network
	}
	return "stepexec-" + serving.ID()
}

var alpineRelease = regexp.MustCompile(`(?m)^ID="?alpine"?\s*$`)

// alpine reports whether the job's container is of Alpine Linux (os-release(5)).
func alpine(serving *engine.Serving) (bool, error) {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := serving.ReadFile(jobName, name)
		if err != nil {
			return false, err
		}
		if len(data) > 0 {
			return alpineRelease.Match(data), nil
		}
	}
	return false, nil
}

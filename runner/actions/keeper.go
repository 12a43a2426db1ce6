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
	"sync/atomic"
	"time"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
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
	Owner   owner  // the job ends when this runner is gone
	Folders folders
}

// Keeper keeps the containers of one job.
type Keeper struct {
	Root       string // state root
	StoreLimit int64  // bytes that the storage of builds may take up after a build; 0: no limit
	Read       ReadOptions
	Execute    runner.Execute
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
	gone := sync.OnceFunc(func() { // ends the wait of whoever ends the job
		_ = beneath.RemoveAll(o.Folder) // whoever waits for the lock removes it too
		_ = lock.Close()
	})
	defer gone()
	err = runner.Protect(voice.Say, "the job", func() error { return k.keep(ctx, &o, voice, gone) })
	if err != nil {
		_ = voice.end(report{Failed: err.Error()}) // the hook may be gone
	}
	return err
}

// keep calls gone when nothing of the job is left but this process, which may still need a moment
// for its end.
func (k *Keeper) keep(ctx context.Context, o *order, voice *Voice, gone func()) (err error) {
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
	s := &server{keeper: k, job: j, listener: listener, folder: o.Folder, work: o.Folders.Work, voice: voice, diary: newDiary(j), kill: make(chan struct{}), ending: ending, end: end}
	watching := s.watch(ending, o.Owner.inNamespace())
	defer func() { err = errors.Join(err, watching.Wait()) }()
	defer end(nil)
	defer listener.Close() // until here it can be told who the keeper is, to kill it
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ending, func() {
		if !s.start.isReady() { // a job that is ready ends well: its services are stopped
			cancel(context.Cause(ending))
		}
	})()
	if err := ClearBuilds(ctx, k.Root); err != nil { // the next build tries again
		voice.Say("warning: clear away what a build has left: " + err.Error())
	}
	err = k.Execute(ctx, run.Work{
		Pipeline: &j.pipeline, Logins: j.logins, Kill: s.kill, Events: s.event, Serve: s.serve, Gone: gone,
		Inputs: pipeline.Inputs{Mode: pipeline.ForJob, Dir: "/", LookupEnv: os.LookupEnv}, Own: o.Folders.own(), Default: policy.Actions(o.Network == sandbox.NetworkHost),
	})
	if err != nil && o.Folders.Work == "" {
		err = fmt.Errorf("%w (RUNNER_TEMP is %q: a runner's is WORK/_temp, with GITHUB_WORKSPACE below WORK; without such a work folder no folder of this machine may be mounted)", err, o.Owner.Temp)
	}
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
	work     string // the runner's work folder; "": unknown
	voice    *Voice
	start    start
	diary    *diary
	kill     chan struct{}           // closed: what runs is killed without grace
	ending   context.Context         // ends when the job shall end
	end      context.CancelCauseFunc // ends it
	count    atomic.Int64            // calls that run something
	calls    sync.WaitGroup          // those that use serving

	mu      sync.Mutex
	serving *engine.Serving // nil: the job is not ready yet, or is over
}

// event listens to the job's run.
func (s *server) event(e *event.Event) {
	s.diary.event(*e)
	s.start.event(s.voice, *e)
}

// firstLook is how long a service must have run before the job counts as ready: one that lacks
// a variable, or the port of another, ends at once.
const firstLook = time.Second

// checkAlive fails for a container that has ended before the job could begin.
func (s *server) checkAlive(ctx context.Context, serving *engine.Serving) error {
	timer := time.NewTimer(time.Until(s.diary.lastStart().Add(firstLook)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ending.Done():
		return context.Cause(s.ending)
	}
	for i := range s.job.pipeline.Services {
		name := s.job.pipeline.Services[i].Name
		if serving.Ended(name) != nil {
			return errors.New(s.diary.ended(name))
		}
	}
	return nil
}

// serve tells the hook that all is ready, and returns when the job ends and no call uses its
// containers any more.
func (s *server) serve(ctx context.Context, serving *engine.Serving) error {
	s.setServing(serving) // before the hook hears of it
	var beside crash.Group
	if s.job.response.Context.Container != nil {
		beside.Go(func() { _ = serving.ServeExecs(ctx, jobName) }) // without it scripts run too, only more slowly
	}
	err := s.checkAlive(ctx, serving)
	if err == nil {
		err = s.respond(serving)
	}
	if err == nil {
		select {
		case <-s.ending.Done():
		case <-ctx.Done():
		}
	}
	s.setServing(nil)
	s.calls.Wait()
	return errors.Join(err, beside.Wait())
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

var alpineRelease = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^ID="?alpine"?\s*$`) })

// alpine reports whether the job's container is of Alpine Linux (os-release(5)).
func alpine(serving *engine.Serving) (bool, error) {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := serving.ReadFile(jobName, name)
		if err != nil {
			return false, err
		}
		if len(data) > 0 {
			return alpineRelease().Match(data), nil
		}
	}
	return false, nil
}

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
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
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
	lock, err := lockFolder(o.Folder)
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
	defer listener.Close()
	s := &server{keeper: k, job: j, listener: listener, folder: o.Folder, voice: voice, kill: make(chan struct{})}
	err = k.Execute(ctx, run.Work{
		Pipeline: &j.pipeline, Logins: j.logins, Kill: s.kill, Events: s.start.event(voice), Serve: s.serve,
		Inputs: pipeline.Inputs{Mode: pipeline.ForJob, Dir: "/", LookupEnv: os.LookupEnv}, Default: o.Folders.policy(o.Network == sandbox.NetworkHost),
	})
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
	kill     chan struct{} // closed: what runs is killed without grace
	serving  *engine.Serving
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

// serve tells the hook that all is ready and answers calls until one of them ends the job.
func (s *server) serve(ctx context.Context, serving *engine.Serving) error {
	s.serving = serving
	if err := s.respond(); err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(ctx, func() { _ = s.listener.Close() })()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if ctx.Err() == nil {
				return fmt.Errorf("wait for the job's calls: %w", err)
			}
			close(s.kill)
			return nil
		}
		calls.Go(func() {
			defer conn.Close()
			s.answer(ctx, conn, end)
		})
	}
}

// respond fills in what is known about the containers now.
func (s *server) respond() error {
	r := &s.job.response
	r.State.Job = s.folder
	if c := r.Context.Container; c != nil {
		c.ID, c.Network = hexID(s.serving.ID(), jobName), s.network(jobName)
		release, err := s.alpine()
		if err != nil {
			return err
		}
		r.IsAlpine = release
	}
	for i := range r.Context.Services {
		name := s.job.pipeline.Services[i].Name
		r.Context.Services[i].ID, r.Context.Services[i].Network = hexID(s.serving.ID(), name), s.network(name)
	}
	s.start.setReady()
	return s.voice.end(report{Ready: r})
}

// network is a name for a container's network. The runner shows it, and does nothing else with it.
func (s *server) network(service string) string {
	i := slices.IndexFunc(s.job.pipeline.Services, func(step pipeline.Step) bool { return step.Name == service })
	if network := s.job.pipeline.Services[i].Network; network != "private" {
		return network
	}
	return "stepexec-" + s.serving.ID()
}

var alpineRelease = regexp.MustCompile(`(?m)^ID="?alpine"?\s*$`)

// alpine reports whether the job's container is of Alpine Linux (os-release(5)).
func (s *server) alpine() (bool, error) {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := s.serving.ReadFile(jobName, name)
		if err != nil {
			return false, err
		}
		if len(data) > 0 {
			return alpineRelease.Match(data), nil
		}
	}
	return false, nil
}

// answer does what one call asks for.
func (s *server) answer(ctx context.Context, conn *net.UnixConn, end func()) {
	ctx, c, streams, err := receive(ctx, conn)
	defer closeAll(streams)
	if err != nil {
		return // whoever called is gone
	}
	if c.End {
		end()
		return // the lock of the folder tells that all is gone
	}
	a := s.do(ctx, &c, streams)
	closeAll(streams)
	_ = json.NewEncoder(conn).Encode(a) // whoever called may be gone
}

// do runs what a call asks for. A panic fails this call alone: the job's containers and its
// other calls go on.
func (s *server) do(ctx context.Context, c *call, streams []*os.File) (a answer) {
	var log []string
	err := runner.Protect(func(line string) { log = append(log, line) }, "the call", func() error {
		switch {
		case len(streams) != 2:
			a = failed(errors.New("the call has no streams"))
		case c.Script != nil:
			a = s.script(ctx, c.Script, streams)
		case c.Container != nil:
			a = s.container(ctx, c.Container, streams)
		default:
			a = failed(errors.New("the call asks for nothing"))
		}
		return nil
	})
	if err != nil {
		a = failed(err)
		a.Log = log
	}
	return a
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

func failed(err error) answer { return answer{Code: event.CodeError, Error: err.Error()} }

// script runs a program in the job's container.
func (s *server) script(ctx context.Context, c *Container, streams []*os.File) answer {
	if s.job.response.Context.Container == nil {
		return failed(errors.New("the job has no container to run a script in"))
	}
	o := sandbox.ExecOptions{
		Args: append([]string{c.EntryPoint}, c.command()...), Dir: c.WorkingDirectory, Path: c.PrependPath,
		Stdout: streams[0], Stderr: streams[1], Grace: stopGrace,
	}
	for name, value := range c.Environment {
		o.Env = append(o.Env, name+"="+value)
	}
	joined, err := s.serving.Plan().Join(jobName)
	if err != nil {
		return failed(err)
	}
	exit, err := s.serving.Exec(ctx, joined, o)
	var command *sandbox.CommandError
	switch {
	case errors.As(err, &command):
		return answer{Code: command.Code, Error: err.Error()}
	case err != nil:
		return failed(err)
	}
	return answer{Code: exit.Code}
}

// container runs a container beside those of the job.
func (s *server) container(ctx context.Context, c *Container, streams []*os.File) answer {
	j, step, err := s.admitContainer(c)
	if err != nil {
		return failed(err)
	}
	extra := engine.Extra{Step: step, Stdout: streams[0], Stderr: streams[1]}
	if len(j.logins) > 0 {
		extra.Keychain = pull.Logins(j.logins)
	}
	result := s.serving.Run(ctx, extra)
	a := answer{Code: result.ExitCode, Error: result.Error, Warnings: j.warnings}
	if result.Status != event.Succeeded && a.Code == 0 {
		a.Code = event.CodeError
	}
	return a
}

// admitContainer plans a container as the only step of a pipeline, and admits it under the
// policy of the job.
func (s *server) admitContainer(c *Container) (*job, *policy.Step, error) {
	j, err := newJob(&Args{}, s.keeper.Read, s.job.network)
	if err != nil {
		return nil, nil, err
	}
	c.Ports = nil // the runner's own hook does not publish them either
	step, err := j.step(c, "container")
	if err != nil {
		return nil, nil, err
	}
	step.Ready = nil
	j.pipeline.Steps = []pipeline.Step{*step}
	admitted, err := s.serving.Plan().PlanExtra(&j.pipeline, pipeline.Inputs{Mode: pipeline.ForSteps, Dir: "/", LookupEnv: os.LookupEnv})
	if err != nil {
		return nil, nil, err
	}
	return j, admitted, nil
}

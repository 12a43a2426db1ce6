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
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/sandbox"
)

// stopGrace is what a program has between SIGTERM and SIGKILL when the runner cancels: it
// kills the hook 10 s after its first signal.
const stopGrace = 4 * time.Second

// order is what the keeper is started with.
type order struct {
	Args    Args
	Folder  string // of the job, that is there
	Network string
}

// report is a line of what the keeper tells the hook that has started it, until Ready or
// Failed.
type report struct {
	Say    string    `json:"say,omitempty"`
	Ready  *Response `json:"ready,omitempty"`
	Failed string    `json:"failed,omitempty"`
}

// Say tells, in what a keeper writes, a line for the log of the runner.
func Say(out io.Writer, line string) { _ = json.NewEncoder(out).Encode(report{Say: line}) }

// Keeper keeps the containers of one job.
type Keeper struct {
	Read    ReadOptions
	Execute runner.Execute
}

// Keep reads an order, starts the job's containers, tells out how that went, and does what
// calls ask of it until one of them ends the job, or ctx does. All of the job is gone when
// it returns.
func (k *Keeper) Keep(ctx context.Context, in io.Reader, out io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	tell := json.NewEncoder(out)
	lock, err := lockFolder(o.Folder)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer beneath.RemoveAll(o.Folder) // whoever waits for the lock removes it too
	err = k.keep(ctx, &o, tell)
	if err != nil {
		_ = tell.Encode(report{Failed: err.Error()}) // nobody reads it once the job was ready
	}
	return err
}

func (k *Keeper) keep(ctx context.Context, o *order, tell *json.Encoder) error {
	j, err := newJob(&o.Args, k.Read, o.Network)
	if err != nil {
		return err
	}
	for _, warning := range j.warnings {
		_ = tell.Encode(report{Say: "warning: " + warning})
	}
	listener, err := listen(o.Folder)
	if err != nil {
		return fmt.Errorf("make the job's socket: %w", err)
	}
	kill := make(chan struct{})
	s := &server{keeper: k, job: j, listener: listener, folder: o.Folder, tell: tell, kill: kill}
	work := runner.Work{
		Pipeline: &j.pipeline, Logins: j.logins, Kill: kill, Events: s.event, Serve: s.serve,
		Inputs: pipeline.Inputs{Serving: true, Bare: true, Dir: "/"},
	}
	err = errors.Join(k.Execute(ctx, work), listener.Close())
	if err == nil && !s.ready {
		err = fmt.Errorf("the job's containers could not be started%s", s.why)
	}
	return err
}

// server does what calls ask for.
type server struct {
	keeper   *Keeper
	job      *job
	listener *net.UnixListener
	folder   string
	tell     *json.Encoder
	ready    bool
	why      string
	run      string        // its id
	kill     chan struct{} // closed: what runs is killed without grace
	serving  *engine.Serving
}

// event tells the hook what goes on until the job is ready.
func (s *server) event(e event.Event) {
	if s.ready {
		return // the record has it
	}
	switch e.Kind {
	case event.RunStarted:
		s.run = e.Run
	case event.PullStarted:
		s.say("pull " + e.Image)
	case event.Warning:
		s.say("warning: " + e.Text)
	case event.StepFinished:
		if e.Result.Error != "" {
			s.why += fmt.Sprintf("; %s: %s", e.Result.Step, e.Result.Error)
		} else if e.Result.Status == event.Failed || e.Result.NotReady {
			s.why += fmt.Sprintf("; %s ended with exit code %d", e.Result.Step, e.Result.ExitCode)
		}
	}
}

func (s *server) say(text string) { _ = s.tell.Encode(report{Say: text}) }

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

// respond fills in what is known of the containers now.
func (s *server) respond() error {
	r := &s.job.response
	r.State.Job = s.folder
	if c := r.Context.Container; c != nil {
		c.ID, c.Network = hexID(s.run, jobName), s.network(jobName)
		release, err := s.alpine()
		if err != nil {
			return err
		}
		r.IsAlpine = release
	}
	for i := range r.Context.Services {
		name := s.job.pipeline.Services[i].Name
		r.Context.Services[i].ID, r.Context.Services[i].Network = hexID(s.run, name), s.network(name)
	}
	s.ready = true
	return s.tell.Encode(report{Ready: r})
}

// network is a name for a container's network, which the runner shows and does nothing with.
func (s *server) network(service string) string {
	i := slices.IndexFunc(s.job.pipeline.Services, func(step pipeline.Step) bool { return step.Name == service })
	if network := s.job.pipeline.Services[i].Network; network != "private" {
		return network
	}
	return "stepexec-" + s.run
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
	var a answer
	switch {
	case c.End:
		end()
		return // the lock of the folder tells that all is gone
	case len(streams) != 2:
		a = failed(errors.New("the call has no streams"))
	case c.Script != nil:
		a = s.script(ctx, c.Script, streams)
	case c.Container != nil:
		a = s.container(ctx, c.Container, streams)
	}
	closeAll(streams)
	_ = json.NewEncoder(conn).Encode(a) // whoever called may be gone
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
	j, step, err := s.planContainer(c)
	if err != nil {
		return failed(err)
	}
	admitted, err := s.serving.Plan().Extra(*step)
	if err != nil {
		return failed(err)
	}
	extra := engine.Extra{Step: admitted, Stdout: streams[0], Stderr: streams[1]}
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

// planContainer plans a container as the only step of a pipeline.
func (s *server) planContainer(c *Container) (*job, *pipeline.PlannedStep, error) {
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
	plan, err := j.pipeline.Plan(pipeline.Inputs{Bare: true, Dir: "/"})
	if err != nil {
		return nil, nil, err
	}
	return j, &plan.Steps[0], nil
}

package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/sandbox"
)

// answer does what one call asks for.
func (s *server) answer(ctx context.Context, conn *net.UnixConn) {
	ctx, c, streams, err := receive(ctx, conn)
	defer closeAll(streams)
	if err != nil {
		return // whoever called is gone
	}
	if c.End {
		s.end(errEnded)
		return // the lock of the folder tells that all is gone
	}
	a := s.do(ctx, &c, streams)
	closeAll(streams)
	_ = json.NewEncoder(conn).Encode(a) // whoever called may be gone
}

// do runs what a call asks for. A panic fails this call alone: the job's containers and its
// other calls go on.
func (s *server) do(ctx context.Context, c *call, streams []*os.File) (a answer) {
	serving, done := s.use()
	if serving == nil {
		return failed(errors.New("the job's containers are not ready yet, or are being ended"))
	}
	defer done()
	var log []string
	err := runner.Protect(func(line string) { log = append(log, line) }, "the call", func() error {
		switch {
		case len(streams) != 2:
			a = failed(errors.New("the call has no streams"))
		case c.Logs:
			if err := s.diary.writeLogs(streams[0]); err != nil {
				a = failed(err)
			}
		case c.Script != nil:
			warnings := s.lendCommands(serving)
			a = s.script(ctx, serving, c.Script, streams)
			a.Warnings = append(warnings, a.Warnings...)
		case c.Container != nil:
			warnings := s.lendCommands(serving)
			a = s.container(ctx, serving, c.Container, streams)
			a.Warnings = append(warnings, a.Warnings...)
		default:
			a = failed(errors.New("the call asks for nothing"))
		}
		return nil
	})
	if err != nil {
		a = failed(err)
		a.Log = log
	}
	a.Deaths = s.diary.deaths()
	return a
}

// lendCommands lets the job's user write to the files that the runner has made for a step.
func (s *server) lendCommands(serving *engine.Serving) (warnings []string) {
	if s.work == "" {
		return nil
	}
	if err := serving.Lend(filepath.Join(s.work, tempName, commandsName)); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

func failed(err error) answer { return answer{Code: event.CodeError, Error: err.Error()} }

// script runs a program in the job's container.
func (s *server) script(ctx context.Context, serving *engine.Serving, c *Container, streams []*os.File) answer {
	if s.job.response.Context.Container == nil {
		return failed(errors.New("the job has no container to run a script in"))
	}
	if c.EntryPoint == "" {
		return failed(errors.New("the runner names no program to run (entryPoint)"))
	}
	o := sandbox.ExecOptions{
		Args: append([]string{c.EntryPoint}, c.command()...), Dir: c.WorkingDirectory, Path: c.PrependPath,
		Stdout: streams[0], Stderr: streams[1], Grace: stopGrace, Kill: s.kill,
	}
	for name, value := range c.Environment {
		o.Env = append(o.Env, name+"="+value)
	}
	joined, err := serving.Plan().Join(jobName)
	if err != nil {
		return failed(err)
	}
	if serving.Ended(jobName) != nil {
		return failed(errors.New(s.diary.ended(jobName)))
	}
	exit, err := serving.Exec(ctx, joined, s.nameOf(c, "script"), o)
	var command *sandbox.CommandError
	switch {
	case errors.As(err, &command):
		return answer{Code: command.Code, Error: err.Error()}
	case err != nil:
		return failed(err)
	}
	a := answer{Code: exit.Code}
	switch oom := "out of memory: " + exit.OutOfMemory.String(); {
	case exit.OOM && exit.Code != 0:
		a.Error = oom
	case exit.OOM:
		a.Warnings = []string{oom + ", although the step succeeded"}
	}
	return a
}

// nameOf names a call in the job's record: the number of the call, and the step as the runner
// knows it, such as __run_2 (the variable GITHUB_ACTION).
func (s *server) nameOf(c *Container, kind string) string {
	name := fmt.Sprintf("%s-%d", kind, s.count.Add(1))
	if id := c.Environment["GITHUB_ACTION"]; id != "" {
		name += " (" + id + ")"
	}
	return name
}

// container runs a container beside those of the job. Its image may have to be built first.
func (s *server) container(ctx context.Context, serving *engine.Serving, c *Container, streams []*os.File) answer {
	if dockerfile := c.Dockerfile; dockerfile != "" {
		admitted := *c
		admitted.Dockerfile, admitted.Built = "", builtName+"admitted"
		if _, _, err := s.admitContainer(serving, &admitted); err != nil { // before RUN runs anything
			return failed(err)
		}
		name, err := s.built(ctx, serving, dockerfile, streams[0])
		if err != nil {
			return failed(fmt.Errorf("build the action's image from %s: %w", dockerfile, err))
		}
		c.Dockerfile, c.Built = "", name
	}
	j, step, err := s.admitContainer(serving, c)
	if err != nil {
		return failed(err)
	}
	extra := engine.Extra{Step: step, Stdout: streams[0]}
	if len(j.logins) > 0 {
		extra.Keychain = pull.Logins(j.logins)
	}
	result := serving.Run(ctx, extra)
	a := answer{Code: result.ExitCode, Error: result.Error, Warnings: j.warnings}
	if result.Status != event.Succeeded && a.Code == 0 {
		a.Code = event.CodeError
	}
	return a
}

// admitContainer plans a container as the only step of a pipeline, and admits it under the
// policy of the job.
func (s *server) admitContainer(serving *engine.Serving, c *Container) (*job, *policy.Step, error) {
	j, err := newJob(&Args{}, s.keeper.Read, s.job.network)
	if err != nil {
		return nil, nil, err
	}
	c.Ports = nil // the runner's own hook does not publish them either
	step, err := j.step(c, fmt.Sprintf("container-%d", s.count.Add(1)))
	if err != nil {
		return nil, nil, err
	}
	step.Ready = nil
	j.pipeline.Steps = []pipeline.Step{*step}
	admitted, err := serving.Plan().PlanExtra(&j.pipeline, pipeline.Inputs{Mode: pipeline.ForSteps, Dir: "/", LookupEnv: os.LookupEnv})
	if err != nil {
		return nil, nil, err
	}
	return j, admitted, nil
}

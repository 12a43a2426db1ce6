package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
)

// Shell is the terminal on which shells are opened in steps, and in which of them. Services and
// detached steps have none.
type Shell struct {
	OnFailure     bool     // in each step that fails, when it has ended
	Before, After []string // names of steps: before it begins, and when it has ended

	Terminal *os.File  // the user's
	Out      io.Writer // shows what the shell prints, masked

	// Borrow takes the terminal for one shell. It waits while another shell has it, until
	// ctx ends.
	Borrow func(ctx context.Context) (giveBack func(), err error)
}

// wantsShell reports whether a shell is wanted in a step with this outcome.
func (r *run) wantsShell(n *node, end outcome) bool {
	s := r.o.Shell
	if s == nil || n.isBeside() {
		return false
	}
	failed := end.status == event.Failed || end.status == event.TimedOut
	return s.OnFailure && failed || slices.Contains(s.After, n.step.Name) && (failed || end.status == event.Succeeded)
}

// shellBefore opens a shell in a container like the one that the step is about to run in, which it
// returns. Whatever the shell writes outside the step's mounts is not there when the step begins.
// Where the step cannot be prepared, there is no shell, and the step's first attempt says why.
func (r *run) shellBefore(ctx context.Context, n *node, foreseen *prepared) *prepared {
	if r.o.Shell == nil || !slices.Contains(r.o.Shell.Before, n.step.Name) || r.interrupt.Err() != nil {
		return foreseen
	}
	if foreseen == nil {
		var err error
		if foreseen, err = r.prepare(ctx, n); err != nil {
			return nil
		}
	}
	step := *foreseen.step
	step.ID += "-before"
	step.Names.Ports, step.Names.Aliases = nil, nil // they are the step's, whose container is there
	r.onTerminal(n, func(ctx context.Context) error {
		return r.shellIn(ctx, n, &step, "it is about to begin", "What you write outside its mounts is gone when you leave with exit or Ctrl-D.\nThe step begins then.\n")
	})
	return foreseen
}

// openShell opens a shell in what a step has left. It does not change how the step
// ended. The step's container is removed first: the shell gets a new one with its mounts
// and limits, and none of its processes.
func (r *run) openShell(n *node, end outcome) {
	if !r.wantsShell(n, end) || r.interrupt.Err() != nil {
		return
	}
	if n.work.left == nil {
		r.noShell(n, "the step's container could not be created")
		return
	}
	<-n.work.left.removed
	if n.work.left.err != nil {
		return // the run's error says why
	}
	step := *n.work.left.step
	step.ID += "-shell"
	step.Upper = n.work.left.upper
	r.onTerminal(n, func(ctx context.Context) error {
		return r.shellIn(ctx, n, &step, end.String(), fmt.Sprintf("Leave it with exit or Ctrl-D. The step has %s all the same.\n", end.status))
	})
}

// noShell says why no shell is opened in a step.
func (r *run) noShell(n *node, why string) {
	r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "no shell: " + why})
}

// onTerminal opens a shell once the user's terminal is free.
func (r *run) onTerminal(n *node, open func(ctx context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.interrupt))
	defer cancel(nil)
	defer context.AfterFunc(r.interrupt, func() { cancel(context.Cause(r.interrupt)) })()
	r.feed.settle()
	giveBack, err := r.o.Shell.Borrow(ctx)
	if err != nil {
		r.noShell(n, err.Error())
		return
	}
	err = open(ctx)
	giveBack()
	if err != nil && ctx.Err() == nil {
		r.noShell(n, err.Error())
	}
}

// shellIn runs a shell in a copy of a step on the user's terminal. The greeting says how the step is,
// and ends with hint.
func (r *run) shellIn(ctx context.Context, n *node, step *sandbox.Step, state, hint string) error {
	step.Advanced.TTY, step.Advanced.PidFile, step.Advanced.IDFile = true, "", ""
	step.Names.Ports = slices.Clone(step.Names.Ports)
	step.Mounts = slices.DeleteFunc(slices.Clone(step.Mounts), isChannel)
	if n.step.Exports { // the step's own file is for the step
		mount, err := exportsMount(r.o.Host, step.ID)
		if err != nil {
			return err
		}
		step.Mounts = append(step.Mounts, mount)
	}
	shell := r.o.Shell
	s := &session{host: r.o.Host, mask: r.mask, stdin: shell.Terminal, terminal: shell.Terminal, stdout: shell.Out, grace: r.o.Stop.Grace, kill: r.o.Stop.Kill}
	s.greeting = fmt.Sprintf("step %s: %s\nA shell with its files, mounts, environment and user%s.\n%s", n.step.Name, state, scriptHint(step), hint)
	_, err := s.shell(ctx, step)
	return err
}

func scriptHint(step *sandbox.Step) string {
	if step.Script == nil {
		return ""
	}
	return "; its commands are in " + sandbox.ScriptPath
}

// session runs a program in what a step has left.
type session struct {
	host           *sandbox.Host
	mask           *logs.Mask
	stdin          *os.File // nil: none
	stdout, stderr io.Writer
	terminal       *os.File        // the user's; nil: none
	greeting       string          // shown before the program begins
	grace          time.Duration   // between the stop signal and SIGKILL
	kill           <-chan struct{} // closed: the program is killed without grace
}

// shell runs the first shell that the image has: the shell of the step's commands, or
// /bin/sh.
func (s *session) shell(ctx context.Context, step *sandbox.Step) (int, error) {
	for _, program := range shells(step) {
		step.Instead = []string{program}
		code, err := s.run(ctx, step)
		var missing *sandbox.CommandError
		if !errors.As(err, &missing) {
			return code, err
		}
	}
	return 0, fmt.Errorf("image %s has no shell (%s): if the step is kept, stepexec shell RUN STEP -- PROGRAM runs a program that the image has", step.Image, strings.Join(shells(step), ", "))
}

func shells(step *sandbox.Step) []string {
	if step.Script != nil && len(step.Shell) > 0 && step.Shell[0] != "/bin/sh" && step.Shell[0] != "sh" {
		return []string{step.Shell[0], "/bin/sh"}
	}
	return []string{"/bin/sh"}
}

// run runs step.Instead and returns its exit code.
func (s *session) run(ctx context.Context, step *sandbox.Step) (_ int, err error) {
	to := sinks{writers: oneOrTwo(s.stdout, s.stderr)}
	c, err := openConsole(s.host, step.ID, source{file: s.stdin}, to.maskedBy(s.mask), nil, s.terminal)
	if err != nil {
		return 0, err
	}
	p, err := c.create(ctx, s.host, step)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.remove()) }()
	if s.greeting != "" {
		if _, err := io.WriteString(s.stdout, s.mask.String(s.greeting)); err != nil {
			return 0, err
		}
	}
	giveBack, err := c.lend(p.sandbox.Terminal())
	defer giveBack()
	if err != nil {
		return 0, err
	}
	if err := p.sandbox.Start(ctx); err != nil {
		return 0, err
	}
	c.input.begin()
	exit, err := p.sandbox.Wait(ctx, sandbox.Stopping{Grace: s.grace, Now: s.kill})
	return exit.Code, errors.Join(err, c.output.drain(), giveBack())
}

// Look is a program to run in a kept or running step.
type Look struct {
	Command        []string          // nil: a shell
	Secrets        map[string]string // values by name; the program gets those that the step had
	TTY            bool              // a terminal for all three streams
	Stdin          *os.File          // nil: none
	Stdout, Stderr io.Writer         // Stderr is nil: both streams go to Stdout, in the order in which they are written
	Terminal       *os.File          // the user's; nil: none
	Kill           <-chan struct{}   // closed: the program is killed without grace
}

// keptStep is a kept step in the words of a plan.
func keptStep(k *sandbox.Kept) pipeline.PlannedStep {
	s := &k.Step
	step := pipeline.PlannedStep{
		Name: k.Name, Image: s.Image, Script: s.Script, Entrypoint: s.Entrypoint, Args: s.Args, Env: s.Env,
		Directory: s.Directory, User: s.User, Network: s.Network, Stdin: pipeline.StdinInherited,
		Mounts: s.Mounts, Names: s.Names, Limits: s.Limits, Security: s.Security, Advanced: s.Advanced,
	}
	if step.Network == "" {
		step.Network = sandbox.NetworkHost
	}
	return step
}

// LookInto runs a program in a kept step: on the files that the step left, with its
// mounts, environment and user. Files that the program writes there stay. It returns the
// program's exit code.
//
// The rules admit the step as it was kept; the error is [policy.Denials] where they do not.
func LookInto(ctx context.Context, rules *policy.Policy, host *sandbox.Host, k sandbox.Kept, o Look) (_ int, err error) {
	if _, err := rules.AdmitStep(keptStep(&k), policy.Origin{Way: policy.Shell}); err != nil {
		return 0, err
	}
	step, release, err := host.Reopen(ctx, k)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	var values []string
	for place, name := range k.Withheld {
		value, given := o.Secrets[name]
		switch {
		case !given:
		case strings.HasPrefix(place, "/"):
			step.Secrets = append(step.Secrets, sandbox.Secret{Path: place, Value: []byte(value)})
		default:
			step.Env = append(step.Env, place+"="+value)
		}
	}
	for _, value := range o.Secrets {
		values = append(values, value)
	}
	step.Advanced.TTY = o.TTY
	s := &session{host: host, mask: logs.NewMask(values), stdin: o.Stdin, stdout: o.Stdout, stderr: o.Stderr, terminal: o.Terminal, grace: DefaultGrace, kill: o.Kill}
	if o.Command == nil {
		return s.shell(ctx, step)
	}
	step.Instead = o.Command
	return s.run(ctx, step)
}

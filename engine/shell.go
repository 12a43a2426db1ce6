package engine

import (
	"cmp"
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

// Shell is what a shell in a step that has failed is opened on.
type Shell struct {
	Terminal *os.File // the user's
	Out      io.Writer

	// Borrow takes the terminal for one shell. It waits while another has it, until ctx
	// ends.
	Borrow func(ctx context.Context) (giveBack func(), err error)
}

// wantsShell reports whether a shell is to be opened for a step that has ended so.
func (r *run) wantsShell(n *node, end outcome) bool {
	return r.o.Shell != nil && !n.isBeside() && (end.status == event.Failed || end.status == event.TimedOut)
}

// openShell opens a shell in what a step that has failed has left. Nothing that comes
// of it changes how the step ended. What its container was goes first: one made anew
// has its mounts and limits, and none of its processes.
func (r *run) openShell(n *node, end outcome) {
	if !r.wantsShell(n, end) || r.interrupt.Err() != nil {
		return
	}
	say := func(text string) {
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "no shell: " + text})
	}
	if n.left == nil {
		say("its container could not be made")
		return
	}
	<-n.left.removed
	if n.left.err != nil {
		return // it has been told
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.interrupt))
	defer cancel(nil)
	defer context.AfterFunc(r.interrupt, func() { cancel(context.Cause(r.interrupt)) })()
	r.feed.settle()
	giveBack, err := r.o.Shell.Borrow(ctx)
	if err != nil {
		say(err.Error())
		return
	}
	_, err = r.shellIn(ctx, n, end)
	giveBack()
	if err != nil && ctx.Err() == nil {
		say(err.Error())
	}
}

// shellIn runs a shell on the user's terminal.
func (r *run) shellIn(ctx context.Context, n *node, end outcome) (int, error) {
	step := *n.left.step
	step.ID += "-shell"
	step.Upper = n.left.upper
	step.Advanced.TTY, step.Advanced.PidFile = true, ""
	step.WorkspaceOwner = n.left.step.WorkspaceOwner
	step.Names.Ports = slices.Clone(step.Names.Ports)
	step.Mounts = slices.DeleteFunc(slices.Clone(step.Mounts), isChannel)
	if n.step.Exports { // the step's own was read, and is gone
		mounts, err := r.exportsMount(&node{step: n.step, id: step.ID})
		if err != nil {
			return 0, err
		}
		step.Mounts = append(step.Mounts, mounts...)
	}
	s := &session{host: r.o.Host, mask: r.mask, stdin: r.o.Shell.Terminal, terminal: r.o.Shell.Terminal, stdout: r.o.Shell.Out, grace: r.o.Grace, kill: r.o.Kill}
	s.greeting = fmt.Sprintf("step %s %s\n"+
		"A shell in what it has left, with its mounts, environment and user%s.\n"+
		"Leave it with exit or Ctrl-D. The step has failed all the same.\n", n.step.Name, end, scriptHint(&step))
	return s.shell(ctx, &step)
}

func scriptHint(step *sandbox.Step) string {
	if step.Script == nil {
		return ""
	}
	return "; its commands are in " + sandbox.ScriptPath
}

// session is a program that is run in a step which has ended.
type session struct {
	host           *sandbox.Host
	mask           *logs.Mask
	stdin          *os.File // nil: none
	stdout, stderr io.Writer
	terminal       *os.File // the user's; nil: none
	greeting       string   // shown before it begins
	grace          time.Duration
	kill           <-chan struct{}
}

// shell runs the first shell that the image has: that of the step's commands, or
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
	return 0, fmt.Errorf("image %s has no shell (%s): a program that it has can be run by stepexec shell RUN STEP -- PROGRAM, if the step is kept", step.Image, strings.Join(shells(step), ", "))
}

func shells(step *sandbox.Step) []string {
	if step.Script != nil && len(step.Shell) > 0 && step.Shell[0] != "/bin/sh" && step.Shell[0] != "sh" {
		return []string{step.Shell[0], "/bin/sh"}
	}
	return []string{"/bin/sh"}
}

// run runs step.Instead and returns its exit code.
func (s *session) run(ctx context.Context, step *sandbox.Step) (_ int, err error) {
	planned := &pipeline.PlannedStep{Name: step.ID}
	if s.stdin != nil {
		planned.Stdin = pipeline.StdinInherited
	}
	n := &node{step: planned, id: step.ID}
	r := &run{plan: &pipeline.Plan{}, mask: s.mask, o: Options{Host: s.host, Stdin: s.stdin, Stdout: s.stdout, Stderr: cmp.Or(s.stderr, s.stdout), Terminal: s.terminal}}
	r.fixed, r.maskFiles = r.mask, maskFiles{run: r, known: map[string]bool{}}
	p, err := r.create(ctx, n, step, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.remove()) }()
	if s.greeting != "" {
		if _, err := io.WriteString(s.stdout, s.mask.String(s.greeting)); err != nil {
			return 0, err
		}
	}
	giveBack, err := r.lendTerminal(n, p.sandbox.Terminal())
	defer giveBack()
	if err != nil {
		return 0, err
	}
	if err := p.sandbox.Start(ctx); err != nil {
		return 0, err
	}
	p.input.begin()
	exit, err := p.sandbox.Wait(ctx, sandbox.Stopping{Grace: s.grace, Now: s.kill})
	return exit.Code, errors.Join(err, p.output.drain(), giveBack())
}

// Look says how a kept step is looked into.
type Look struct {
	Command        []string          // nil: a shell
	Secrets        map[string]string // by name; what the step had of them it has again
	TTY            bool              // a terminal for all three streams
	Stdin          *os.File          // nil: none
	Stdout, Stderr io.Writer
	Terminal       *os.File // the user's; nil: none
	Kill           <-chan struct{}
}

// keptStep is a kept step in the words of a plan.
func keptStep(k *sandbox.Kept) pipeline.PlannedStep {
	s := &k.Step
	step := pipeline.PlannedStep{
		Name: k.Name, Image: s.Image, Script: s.Script, Entrypoint: s.Entrypoint, Args: s.Args, Env: s.Env,
		Directory: s.Directory, User: s.User, Network: s.Network, Stdin: pipeline.StdinInherited,
		Limits: plannedLimits(&s.Limits), Security: plannedSecurity(&s.Security), Advanced: pipeline.Advanced(s.Advanced),
	}
	if step.Network == "" {
		step.Network = sandbox.NetworkHost
	}
	for _, m := range s.Mounts {
		step.Mounts = append(step.Mounts, pipeline.Mount(m))
	}
	for _, port := range s.Names.Ports {
		step.Names.Ports = append(step.Names.Ports, pipeline.Port(port))
	}
	return step
}

func plannedLimits(l *sandbox.Limits) pipeline.Limits {
	return pipeline.Limits{
		CPUs: l.CPUs, CPUQuota: l.CPUQuota, CPUPeriod: l.CPUPeriod, CPUShares: l.CPUShares,
		CpusetCPUs: l.CpusetCPUs, CpusetMems: l.CpusetMems,
		Memory: l.Memory, MemorySwap: l.MemorySwap, Pids: l.Pids, IOWeight: l.IOWeight, ShmSize: l.ShmSize,
	}
}

func plannedSecurity(s *sandbox.Security) pipeline.Security {
	security := pipeline.Security{
		Privileged: s.Privileged, AllowNewPrivileges: s.AllowNewPrivileges, ReadOnly: s.ReadOnly,
		CapAdd: s.CapAdd, CapDrop: s.CapDrop, Seccomp: s.Seccomp, AppArmor: s.AppArmor, CDI: s.CDI,
	}
	for _, device := range s.Devices {
		security.Devices = append(security.Devices, pipeline.Device(device))
	}
	for _, m := range s.UIDMap {
		security.UIDMap = append(security.UIDMap, pipeline.IDMap(m))
	}
	for _, m := range s.GIDMap {
		security.GIDMap = append(security.GIDMap, pipeline.IDMap(m))
	}
	return security
}

// LookInto runs a program in a kept step: on what the step has written, with its
// mounts, environment and user. What the program writes there stays. It returns the
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

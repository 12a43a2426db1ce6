package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

// shellOptions are the flags of `stepexec shell`.
type shellOptions struct {
	secrets     []string
	secretFiles []string
	root        string
	runtime     string
	noPivot     bool
	policy      policyFlag
	kill        <-chan struct{}
}

func newShell(kill <-chan struct{}) *cobra.Command {
	o := &shellOptions{kill: kill}
	cmd := &cobra.Command{
		Use:   "shell RUN [STEP] [-- COMMAND [ARG...]]",
		Short: "Open a shell in a running step, or in one that was kept",
		Long: `Open a shell, or run COMMAND, in a step or service of a run in progress, or in a step
that was kept after its end (keep: true, --keep).

In a running step the shell is one more process of the container, and ends with it. In
a kept step it sees the files that the step wrote, its mounts and the workspace, with
the step's environment, user, limits and kind of network; services do not run. Whatever
it writes stays. Secrets are left out in both cases, except those given again with
--secret: they are where the step had them, and are masked in the output.

RUN is the run's id, or the beginning of it, or latest. STEP may be left out if only
one step of the run can be entered. COMMAND gets standard input, with or without
a terminal, and its exit code is that of stepexec.`,
		Example: `  stepexec shell 4qpj build
  stepexec shell latest build -- ls -l /tmp
  stepexec shell 4qpj database -- psql -l
  stepexec shell 4qpj deploy --secret token -- sh -e /run/stepexec/script`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, step, command := args[0], "", args[1:]
			if len(command) > 0 && cmd.ArgsLenAtDash() != 1 {
				step, command = command[0], command[1:]
			}
			if len(command) == 0 {
				command = nil
			}
			code, err := o.open(cmd.Context(), id, step, command)
			var missing *sandbox.CommandError
			if errors.As(err, &missing) {
				sayOnStderr(err.Error())
				code, err = missing.Code, nil
			}
			if err == nil && code != 0 {
				err = exitError(code)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(true)
	flags.StringArrayVar(&o.secrets, "secret", nil, "secret `NAME[=VALUE]` that the step had, or NAME=cmd:COMMAND; without a value, from the environment")
	flags.StringArrayVar(&o.secretFiles, "secret-file", nil, "dotenv `FILE` of such secrets")
	o.policy.add(flags)
	addRuntime(flags, &o.runtime)
	addNoPivot(flags, &o.noPivot)
	addRoot(flags, &o.root)
	return cmd
}

func (o *shellOptions) open(ctx context.Context, id, step string, command []string) (int, error) {
	secrets, err := secretValues(ctx, secretSources{files: o.secretFiles, list: o.secrets}, false)
	if err != nil {
		return 0, err
	}
	tty := isTerminal(os.Stdin) && isTerminal(os.Stdout)
	if command == nil && !tty {
		return 0, errors.New("shell: standard input and output are not a terminal (without one, name a command: stepexec shell RUN STEP -- COMMAND)")
	}
	look := engine.Look{Command: command, Secrets: secrets, TTY: tty, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Kill: o.kill}
	if isOnePlace(look.Stdout, look.Stderr) {
		look.Stderr = nil
	}
	if tty {
		look.Terminal = os.Stdin
	}
	code, err := o.enter(ctx, id, step, look)
	if err != nil {
		return 0, run.Masked(err, secrets)
	}
	return code, nil
}

// enter joins a running step, or opens a kept one.
func (o *shellOptions) enter(ctx context.Context, run, step string, look engine.Look) (int, error) {
	if run == latest {
		r, err := findRecord(o.root, latest)
		if err != nil {
			return 0, err
		}
		run = r.Run
	}
	live, err := liveRunOf(o.root, run)
	if err != nil {
		return 0, err
	}
	if step == "" {
		if step, err = o.onlyStep(live, run); err != nil {
			return 0, err
		}
	}
	if live == nil {
		return o.lookInto(ctx, run, step, look)
	}
	j, err := live.Joinable(step)
	switch {
	case err == nil:
		rules, err := o.policy.load()
		if err != nil {
			return 0, err
		}
		defer dropStops()()
		return engine.Join(ctx, rules, j, look)
	case errors.Is(err, fs.ErrNotExist):
		if kept, _ := chosenKept(o.root, live.ID, step); kept {
			return o.lookInto(ctx, live.ID, step, look)
		}
		return 0, fmt.Errorf("step %s of run %s, which goes on, %s", step, live.ID, standing(o.root, live.ID, step))
	}
	return 0, fmt.Errorf("step %s of run %s: %w", step, live.ID, err)
}

// onlyStep returns the name of the only step of a run that can be entered: it runs, or it was kept. live is nil for
// a run that has ended.
func (o *shellOptions) onlyStep(live *sandbox.Live, run string) (string, error) {
	var names []string
	if live != nil {
		run = live.ID
		running, err := live.Joinables()
		if err != nil {
			return "", err
		}
		names = running
	}
	all, err := sandbox.ListKept(o.root)
	if err != nil {
		return "", err
	}
	if kept, err := chooseKept(all, run, nil); err == nil {
		for _, k := range kept {
			names = append(names, k.Name)
		}
	} else if live == nil {
		return "", err
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("run %s: no step runs, and none was kept (keep: true and --keep keep a step for stepexec shell)", run)
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("run %s: which step? (there are %s)", run, strings.Join(names, ", "))
}

// liveRunOf returns the live run whose id begins with prefix, or nil.
func liveRunOf(root, prefix string) (*sandbox.Live, error) {
	all, err := sandbox.ListLive(root)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range all {
		names = append(names, l.ID)
	}
	name, err := record.Match(names, prefix)
	if errors.Is(err, record.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", prefix, err)
	}
	return &all[slices.Index(names, name)], nil
}

func chosenKept(root, run, step string) (bool, error) {
	all, err := sandbox.ListKept(root)
	if err != nil {
		return false, err
	}
	chosen, err := chooseKept(all, run, []string{step})
	return len(chosen) > 0, err
}

// standing describes the state of a step that cannot be joined.
func standing(root, run, step string) string {
	r, err := record.Find(root, run)
	if err != nil {
		return "has no container" // the run keeps no record
	}
	names := stepNames(r)
	if !slices.Contains(names, step) {
		return "is not there: it has " + strings.Join(names, ", ")
	}
	ended := ""
	err = r.ReadLog(context.Background(), nil, func(line []byte) error {
		if !record.IsKind(line, event.StepFinished) {
			return nil
		}
		e, err := record.Decode(line)
		if err == nil && e.Step == step && e.Result != nil {
			ended = fmt.Sprintf("has ended: %s (keep: true and --keep keep a step for stepexec shell)", e.Result.Status)
		}
		return err
	})
	if err != nil || ended == "" {
		return "has not started yet"
	}
	return ended
}

// dropStops keeps Ctrl-Z from stopping this process, because its stopped child would keep the step
// from ending. The signals are caught rather than ignored, because the program would inherit
// ignored signals.
func dropStops() (again func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	return func() { signal.Stop(signals) }
}

// lookInto opens a kept step.
func (o *shellOptions) lookInto(ctx context.Context, run, step string, look engine.Look) (code int, err error) {
	k, release, err := findKept(o.root, run, step)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	store, err := unpack.OpenStore(o.root)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	there, err := store.Hold(k.Step.Lowerdirs)
	if err == nil && !there {
		err = fmt.Errorf("step %s of run %s: layers of its image %s are gone", k.Name, k.Run, k.Step.Image)
	}
	if err != nil {
		return 0, err
	}
	host, err := sandbox.Open(ctx, sandbox.Options{Root: o.root, Runtime: o.runtime, NoPivot: o.noPivot, Guard: guardCommand(), Warn: func(line string) { sayOnStderr("warning: " + line) }})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	rules, err := o.policy.load()
	if err != nil {
		return 0, err
	}
	return engine.LookInto(ctx, rules, host, k, look)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/engine"
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
	kill        <-chan struct{}
}

func newShell(kill <-chan struct{}) *cobra.Command {
	o := &shellOptions{kill: kill}
	cmd := &cobra.Command{
		Use:   "shell RUN STEP [-- COMMAND [ARG...]]",
		Short: "Open a shell in a step that was kept",
		Long: `Open a shell in a step that was kept after it ended (keep: true, --keep), or run
COMMAND there. It has what the step has written, its mounts, the workspace, its
environment, user, limits and kind of network; services do not run. What is written
there stays. Secrets are not kept: those that are given again are where the step had
them, and masked.

RUN is the run's id, or the beginning of it. The exit code is that of COMMAND, which
gets standard input, also without a terminal.`,
		Example: `  stepexec shell 4qpj build
  stepexec shell 4qpj build -- ls -l /tmp
  stepexec shell 4qpj deploy --secret token -- sh -e /run/stepexec/script`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var command []string
			if len(args) > 2 {
				command = args[2:]
			}
			code, err := o.open(cmd.Context(), args[0], args[1], command)
			if err == nil && code != 0 {
				err = exitError(code)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(true)
	flags.StringArrayVar(&o.secrets, "secret", nil, "secret `NAME[=VALUE]` that a kept step had; without a value, from the environment")
	flags.StringArrayVar(&o.secretFiles, "secret-file", nil, "dotenv `FILE` of such secrets")
	addRuntime(flags, &o.runtime)
	addNoPivot(flags, &o.noPivot)
	addRoot(flags, &o.root)
	return cmd
}

func (o *shellOptions) open(ctx context.Context, run, step string, command []string) (int, error) {
	secrets, err := (&runOptions{secrets: o.secrets, secretFiles: o.secretFiles}).secretValues()
	if err != nil {
		return 0, err
	}
	tty := isTerminal(os.Stdin) && isTerminal(os.Stdout)
	if command == nil && !tty {
		return 0, errors.New("shell: standard input and output are not a terminal (without one, name a command: stepexec shell RUN STEP -- COMMAND)")
	}
	look := engine.Look{Command: command, Secrets: secrets, TTY: tty, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Kill: o.kill}
	if tty {
		look.Terminal = os.Stdin
	}
	code, err := o.lookInto(ctx, run, step, look)
	if err != nil {
		return 0, masked(err, secrets)
	}
	return code, nil
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
	return engine.LookInto(ctx, host, k, look)
}

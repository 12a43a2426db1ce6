// Command stepexec runs the steps of a CI pipeline, each in the container image it names, without a
// daemon. This package is the command line: flags, messages and wiring. Decisions that another
// front end would need too are made elsewhere; see package run.
//
// Each file is one subcommand, or something that several of them share. The first word of its name
// is its topic:
//
//	main_     the program itself: signals, the guard, help, completion
//	flags_    flags that several subcommands have
//	run_      stepexec run, a pipeline from a file
//	step_     stepexec step, one command in an image
//	file_     pipeline files: validate, explain, spec, lock, convert, schema
//	live_     live runs and kept steps: ps, stop, shell, kept
//	past_     runs that are over: history, logs, report
//	ui        stepexec ui, pages for a browser
//	image_    the store: pull, load, images, save, verify, rmi, prune
//	machine_  this machine: doctor, gc
//	runner_   the runners of CI servers
//	actions_  GitHub Actions: the action and the container hook
//	show_     the display of a run
//	scripts_  tests of the whole program
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/lockfile"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/settings"
)

func main() {
	// Package net/http logs what a server sends out of turn. A server must not write to the output.
	log.SetOutput(io.Discard)
	if err := errors.Join(noCoreFiles(), rootless.Resume()); err != nil {
		fmt.Fprintln(os.Stderr, "stepexec:", logs.QuoteLines(err.Error(), "  "))
		os.Exit(event.CodeError)
	}
	if len(os.Args) > 1 && os.Args[1] == guardName {
		if err := guard(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "stepexec:", err)
			os.Exit(event.CodeError)
		}
		return
	}
	os.Exit(execute())
}

// execute runs the command line and returns the exit code.
func execute() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	interrupts := catchInterrupts(cancel)
	defer interrupts.stop()

	root := newRoot(interrupts.again, os.Args[1:])
	knownTopics(root)
	err := root.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	var invalid pipeline.Errors
	var invalidLock *lockfile.Error
	var invalidSettings *settings.Error
	var invalidPolicy policy.Errors
	if errors.As(err, &invalid) || errors.As(err, &invalidLock) || errors.As(err, &invalidSettings) || errors.As(err, &invalidPolicy) {
		fmt.Fprintln(os.Stderr, logs.QuoteLines(err.Error(), "")) // file:line:column: first, as editors expect it
	} else {
		fmt.Fprintln(os.Stderr, "stepexec:", err)
	}
	return codeOf(ctx)
}

// codeOf returns the exit code for an error.
func codeOf(ctx context.Context) int {
	if ctx.Err() != nil {
		return event.CodeInterrupted
	}
	return event.CodeError
}

// exitError ends the program with an exit code, after all messages have been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// newRoot returns the program's command with the subcommand that args ask for, or with all of them.
func newRoot(kill <-chan struct{}, args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "stepexec",
		Short: "Run the steps of a CI pipeline in containers, without a daemon",
		Long: `stepexec reads a pipeline, pulls and unpacks the image of each step, runs the
steps with an OCI runtime such as runc, shows what they print and ends with the
exit code of the first step that failed.

Exit codes: 0 success; otherwise that of the failed step; 124 timeout;
125 stepexec itself failed (bad file, pull, runtime); 130 interrupted;
137 out of memory.`,
		Example: `  stepexec doctor
  stepexec run
  stepexec step alpine cat /etc/os-release`,
		Args:          knownCommand,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asked, _ := cmd.Flags().GetBool("version"); asked {
				fmt.Fprintln(cmd.OutOrStdout(), describeVersion())
				return nil
			}
			return cmd.Help()
		},
	}
	root.Flags().Bool("version", false, "print the version, as stepexec version does")
	addSubcommands(root, kill, args)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var missing *pflag.ValueRequiredError
		if errors.As(err, &missing) && missing.GetSpecifiedName() == "h" { // step's -h without a host name
			return pflag.ErrHelp
		}
		if !cmd.HasParent() && len(args) > 0 && !strings.HasPrefix(args[0], "-") { // the flags are those of a command that does not exist
			return knownCommand(cmd, args[:1])
		}
		return fmt.Errorf("%w (%ssee %s --help)", plainFlagError(err), similarFlag(cmd, err), cmd.CommandPath())
	})
	return root
}

// asRoot makes a command that uses the state root run as root: of the machine or, for a normal
// user, of a user namespace, in which layers can have files of several users too.
func asRoot(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !rootless.Needed() || isDryRun(cmd) {
			return run(cmd, args)
		}
		code, err := rootless.Run()
		if err == nil && code != 0 {
			err = exitError(code)
		}
		return err
	}
	return cmd
}

// firstOf returns the first argument, or "".
func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// sayOnStderr prints one of stepexec's own messages.
func sayOnStderr(line string) { fmt.Fprintln(os.Stderr, "stepexec:", logs.QuoteLines(line, "  ")) }

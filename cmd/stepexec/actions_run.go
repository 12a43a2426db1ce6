package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/runner/actions"
)

// newActionsRun returns the command that the step of action.yml runs.
func newActionsRun(kill <-chan struct{}) *cobra.Command {
	return &cobra.Command{
		Use:    "actions-run",
		Short:  "Run a pipeline as a step of GitHub Actions",
		Long:   `Run a pipeline with the inputs of the action (action.yml), which are in variables INPUT_*.`,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			run := newRun(kill)
			run.SetContext(cmd.Context())
			args, err := actions.RunArguments(os.Getenv)
			if err == nil {
				err = run.ParseFlags(args)
			}
			if err == nil {
				err = run.ValidateArgs(run.Flags().Args())
			}
			if err != nil {
				return tellGitHub(err)
			}
			err = run.RunE(run, run.Flags().Args())
			if !isDryRun(run) {
				return err
			}
			shown, openErr := (&outputFlags{format: "github"}).open(os.Stdout) // the plan has already been shown
			if openErr != nil {
				return errors.Join(err, openErr)
			}
			code, exit := event.CodeError, exitError(0)
			switch {
			case err == nil:
				code = 0
			case errors.As(err, &exit):
				code = int(exit)
			}
			return errors.Join(err, shown.End(code))
		},
	}
}

// tellGitHub shows an error as an error of the job's step, which still gets its outputs.
func tellGitHub(err error) error {
	shown, openErr := (&outputFlags{format: "github"}).open(os.Stdout)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	for _, failure := range failures(err) {
		shown.Event(&failure)
	}
	return errors.Join(err, shown.End(event.CodeError))
}

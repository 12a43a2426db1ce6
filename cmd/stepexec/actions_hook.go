package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/runner/actions"
)

// newActionsHook returns the command for the container hook of a self-hosted runner of GitHub
// Actions.
func newActionsHook() *cobra.Command {
	var bench workbench
	cmd := &cobra.Command{
		Use:   "actions-hook",
		Short: "Run the containers of a GitHub Actions job",
		Long: `Run the containers of jobs for a self-hosted runner of GitHub Actions, as its container
hook: read the runner's request from standard input. The runner accepts only scripts as
hooks, so contrib/stepexec-hook.sh calls this command. Set the script's absolute path in
the runner's .env:

  ACTIONS_RUNNER_CONTAINER_HOOKS=/opt/stepexec/stepexec-hook.sh

A job has a network of its own unless --network host is given. The script passes on the
flags in STEPEXEC_HOOK_FLAGS.`,
		Example: `  stepexec actions-hook --network host < request.json
  STEPEXEC_HOOK_FLAGS="--store-limit 20GB" contrib/stepexec-hook.sh < request.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			hook := actions.Hook{
				Root: bench.root, Network: bench.network, Env: os.Getenv,
				Keeper: keeperCommand(cmd), Stdout: os.Stdout, Stderr: os.Stderr,
			}
			if code := hook.Run(cmd.Context(), os.Stdin); code != 0 {
				return exitError(code)
			}
			return nil
		},
	}
	bench.add(cmd.Flags(), "the runner's own folders, and no privilege", pipeline.PullAlways)
	return cmd
}

// keeperCommand returns the command that starts a keeper with the hook's own flags.
func keeperCommand(hook *cobra.Command) []string {
	args := []string{os.Args[0], "actions-job"}
	hook.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			args = append(args, "--"+f.Name+"="+value)
		}
	})
	return args
}

// newActionsJob returns a command that the hook starts for a job. It is not for people.
func newActionsJob() *cobra.Command {
	voice := actions.NewVoice(os.Stdout)
	bench := workbench{say: voice.Say}
	cmd := &cobra.Command{
		Use:    "actions-job",
		Short:  "Keep the containers of a GitHub Actions job",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			execute, err := bench.read(policy.Hook)
			if err != nil {
				return err
			}
			s, err := bench.settings.load()
			if err != nil {
				return err
			}
			keeper := actions.Keeper{Root: bench.root, StoreLimit: s.StoreLimit, Read: readCreateOptions, Execute: execute}
			err = keeper.Keep(cmd.Context(), os.Stdin, voice)
			return errors.Join(err, bench.clear(cmd.Context())) // nobody waits for this process any more
		},
	}
	bench.add(cmd.Flags(), "the runner's own folders, and no privilege", pipeline.PullAlways)
	return cmd
}

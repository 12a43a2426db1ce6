package main

import (
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/run"
)

func newSpec() *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "spec [FILE] STEP",
		Short: "Print the OCI specification of a step",
		Long: `Print the OCI runtime specification, config.json, that a step or service of a
pipeline would run with: image, environment, user, mounts, limits, capabilities,
system call filter. Nothing runs, but the image is pulled. Secrets are masked.`,
		Example: `  stepexec spec build
  stepexec spec ci/pipeline.yml build | jq .process.env`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, step := args[:len(args)-1], args[len(args)-1]
			request, err := o.request(cmd.Context(), file, false)
			if err != nil {
				return err
			}
			job, err := request.Job(cmd.Context())
			if err != nil {
				return err
			}
			planned, err := job.Plan(cmd.Context())
			if err != nil {
				return err
			}
			err = run.OnHost(cmd.Context(), planned, request.Machine, engine.Options{}, func(e engine.Options) error {
				spec, err := engine.Spec(cmd.Context(), planned.Admitted, step, e)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(spec)
				return err
			})
			if err != nil {
				return run.Masked(err, job.Secrets)
			}
			return nil
		},
	}
	o.addPlan(cmd.Flags())
	return cmd
}

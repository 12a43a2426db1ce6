package main

import (
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/engine"
)

func newSpec() *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "spec [FILE] STEP",
		Short: "Print the OCI specification of a step",
		Long: `Print the OCI runtime specification, config.json, that a step or service of a
pipeline would run with: image, environment, user, mounts, limits, capabilities,
system call filter. Nothing runs; the image is pulled as by run. Secrets are masked.`,
		Example: `  stepexec spec build
  stepexec spec ci/pipeline.yml build | jq .process.env`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, step := args[:len(args)-1], args[len(args)-1]
			job, err := o.job(cmd.Context(), file)
			if err != nil {
				return err
			}
			err = onHost(cmd.Context(), job.plan, job.fetcher, job.settings, o.sandbox(), engine.Options{}, func(e engine.Options) error {
				spec, err := engine.Spec(cmd.Context(), job.admitted, step, e)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(spec)
				return err
			})
			if err != nil {
				return masked(err, job.secrets)
			}
			return nil
		},
	}
	o.addPlan(cmd.Flags())
	return cmd
}

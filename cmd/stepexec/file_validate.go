package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
)

func newValidate() *cobra.Command {
	schema := false
	cmd := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a pipeline file without running it",
		Long: `Check a pipeline file: unknown keys, wrong types, duplicate names, missing
dependencies and cycles are reported with file:line:column, and so are invalid image
references, missing files and undeclared volumes. Nothing is run or pulled, and no
secrets are needed. --schema prints the JSON Schema of the format,
for editors.`,
		Example: "  stepexec validate\n  stepexec validate ci/pipeline.yml\n  stepexec validate --schema >pipeline.schema.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if schema {
				_, err := cmd.OutOrStdout().Write(pipeline.Schema())
				return err
			}
			from, err := (&run.Request{File: firstOf(args)}).Load(cmd.Context())
			if err != nil {
				return err
			}
			for _, warning := range from.Set.Warnings {
				sayOnStderr("warning: " + warning.Error())
			}
			if err := from.Check(); err != nil {
				return err
			}
			wrong, suspicious := from.CheckReferences()
			for _, warning := range suspicious {
				sayOnStderr("warning: " + warning.Error())
			}
			if len(wrong) > 0 {
				return wrong
			}
			for _, w := range from.Set.Workflows {
				if err := w.CheckNetworks(); err != nil {
					return err
				}
				what := from.File
				if len(from.Set.Workflows) > 1 {
					what += ": " + w.Name
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %s, %s\n", what, counted(len(w.Steps), "step"), counted(len(w.Services), "service")); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the pipeline format")
	return cmd
}

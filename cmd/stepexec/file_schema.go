package main

import (
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/report"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema {events|pipeline|report}",
		Short: "Print the JSON Schema of a format",
		Long: `Print a JSON Schema (draft 2020-12): of the events that stepexec run --output json
writes, one per line, of the pipeline file, or of a report in JSON.`,
		Example:   "  stepexec schema events > events.schema.json\n  stepexec schema pipeline > pipeline.schema.json",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"events", "pipeline", "report"},
		RunE: func(cmd *cobra.Command, args []string) error {
			schema := report.EventSchema()
			switch args[0] {
			case "pipeline":
				schema = pipeline.Schema()
			case "report":
				schema = report.Schema()
			}
			_, err := cmd.OutOrStdout().Write(schema)
			return err
		},
	}
}

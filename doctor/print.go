package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the results as a table for people, each remedy below its finding.
func Print(w io.Writer, results []Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range results {
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\n", r.State, r.Name, r.Detail); err != nil {
			return err
		}
		if r.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(table, "\t\t-> %s\n", r.Remedy); err != nil {
			return err
		}
	}
	return table.Flush()
}

// PrintJSON writes results as a JSON array.
func PrintJSON(w io.Writer, results []Result) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(results)
}

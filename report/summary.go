package report

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/stepexec/stepexec/engine"
)

// Summary writes how a run and each of its steps ended: a table, and one line
// for the whole.
func Summary(w io.Writer, s *engine.Summary) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STEP\tSTATUS\tEXIT CODE\tDURATION")
	for i := range s.Steps {
		r := &s.Steps[i]
		code, duration := "-", "-"
		if r.Status != engine.Skipped && r.Status != engine.Cancelled && r.Status != engine.Stopped {
			code = strconv.Itoa(r.ExitCode)
		}
		if !r.Started.IsZero() {
			duration = Duration(r.Duration)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Step, status(r), code, duration)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict(s))
	return err
}

func status(r *engine.StepResult) string {
	text := string(r.Status)
	if r.OOM {
		text += " (out of memory)"
	}
	if r.Ignored {
		text += " (ignored)"
	}
	return text
}

func verdict(s *engine.Summary) string {
	text := fmt.Sprintf("%s: %s", s.Name, s.Status)
	if s.Status != engine.Succeeded {
		text += fmt.Sprintf(" with exit code %d", s.ExitCode)
	}
	text += " after " + Duration(s.Duration)
	if s.Error != "" {
		text += ": " + s.Error
	}
	return text
}

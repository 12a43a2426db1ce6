package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// Label names the step of an event, with the cell of its matrix. The label is
// quoted.
func Label(e event.Event) string {
	if e.Cell == "" {
		return logs.Quote(e.Step)
	}
	return logs.Quote(e.Step) + " (" + logs.Quote(e.Cell) + ")"
}

// Ended describes in a few words how a step ended, for a line that already names the step.
func Ended(r *event.StepResult) string {
	text := string(r.Status)
	switch {
	case stepexecsOwn(r) && r.Started.IsZero():
		text = fmt.Sprintf("could not be run by stepexec (exit code %d)", r.ExitCode)
	case stepexecsOwn(r):
		text = fmt.Sprintf("could not be finished by stepexec (exit code %d)", r.ExitCode)
	case r.Status == event.Failed:
		text += fmt.Sprintf(" with exit code %d", r.ExitCode)
	}
	if !r.Started.IsZero() {
		text += " after " + Duration(r.Duration)
	}
	if r.Ignored {
		text += ", ignored"
	}
	if r.Status == event.Skipped && r.Reason != "" {
		text += ": " + Clean(r.Reason)
	}
	if r.Error != "" {
		text += ": " + Clean(r.Error)
	}
	return text
}

// Verdict is a sentence about a step that did not end well: what happened to it, and whether
// the step or stepexec failed.
func Verdict(r *event.StepResult) string {
	what := "step " + logs.Quote(r.Step)
	if r.Service {
		what = "service " + logs.Quote(r.Step)
	}
	switch {
	case r.NotReady && strings.HasPrefix(r.Error, "not ready "):
		return what + " was " + Clean(r.Error)
	case r.NotReady:
		return what + " was not ready: " + Clean(r.Error)
	case stepexecsOwn(r) && r.Started.IsZero():
		return "stepexec could not run " + what + ": " + Clean(r.Error)
	case stepexecsOwn(r):
		return "stepexec could not finish " + what + ": " + Clean(r.Error)
	case r.Status == event.TimedOut && r.Started.IsZero():
		return what + " was stopped before its command began: " + Clean(r.Error)
	case r.Status == event.TimedOut:
		return what + " was stopped: " + Clean(r.Error)
	case r.Status == event.Cancelled:
		return what + " was cancelled: " + Clean(r.Error)
	case r.Error != "":
		return what + " failed: " + Clean(r.Error)
	}
	return fmt.Sprintf("%s failed: its command ended with exit code %d", what, r.ExitCode)
}

// stepexecsOwn reports whether stepexec failed, and not the step. A command that ends with the
// same exit code has no error.
func stepexecsOwn(r *event.StepResult) bool {
	return r.Status == event.Failed && r.ExitCode == event.CodeError && r.Error != "" && !r.NotReady
}

// IsFailure reports whether the end of a run describes the step. Steps that were cancelled
// with the whole run are not described.
func IsFailure(r *event.StepResult) bool {
	return (r.Status == event.Failed || r.Status == event.TimedOut) && !r.Ignored
}

// Duration formats a duration for people.
func Duration(m event.Millis) string {
	d := time.Duration(m)
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// Clean quotes a text of several lines that is not a step's own output. All lines but the first are
// marked: none of them looks like a line of the log.
func Clean(text string) string { return logs.QuoteLines(text, "  | ") }

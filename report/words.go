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
	switch {
	case r.Started.IsZero():
	case r.Status == event.TimedOut: // the limit also counts what came before the command
		text += fmt.Sprintf(", %s after its command began", Duration(r.Duration))
	default:
		text += " after " + Duration(r.Duration)
	}
	if r.Ignored {
		text += ", ignored"
	}
	if r.Flaky() {
		text += fmt.Sprintf(", flaky: attempt %d", len(r.Attempts))
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

// Duration formats a duration for people: 345ms, 3.4s, 12m 34s, 1h 2m.
func Duration(m event.Millis) string {
	d := time.Duration(m)
	switch {
	case d >= time.Hour-time.Minute/2:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute-50*time.Millisecond:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second-time.Millisecond/2:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// Where names the place of a step in its pipeline file, as file:line; "" if that is not known.
func Where(r *event.StepResult) string {
	if r.File == "" || r.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", logs.Quote(r.File), r.Line)
}

// Clean quotes a text of several lines that is not a step's own output. All lines but the first are
// marked: none of them looks like a line of the log.
func Clean(text string) string { return logs.QuoteLines(text, "  | ") }

package report_test

import (
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// TestVerdict: a sentence says once what happened, and whose doing it was.
func TestVerdict(t *testing.T) {
	ran := time.Now()
	for _, test := range []struct {
		result event.StepResult
		want   string
	}{
		{event.StepResult{Status: event.Failed, ExitCode: 3, Started: ran}, "step s failed: its command ended with exit code 3"},
		{event.StepResult{Status: event.Failed, ExitCode: 125, Started: ran}, "step s failed: its command ended with exit code 125"},
		{event.StepResult{Status: event.Failed, ExitCode: 125, Error: "no disk"}, "stepexec could not run step s: no disk"},
		{event.StepResult{Status: event.Failed, ExitCode: 125, Started: ran, Error: "no disk"}, "stepexec could not finish step s: no disk"},
		{event.StepResult{Status: event.TimedOut, ExitCode: 124, Started: ran, Error: "its time is over"}, "step s was stopped: its time is over"},
		{event.StepResult{Status: event.TimedOut, ExitCode: 124, Error: "its time is over"}, "step s was stopped before its command began: its time is over"},
		{event.StepResult{Status: event.TimedOut, Service: true, NotReady: true, Error: "not ready in 1s: waited for x"}, "service s was not ready in 1s: waited for x"},
		{event.StepResult{Status: event.Failed, Service: true, NotReady: true, Error: "ended with exit code 3"}, "service s was not ready: ended with exit code 3"},
	} {
		test.result.Step = "s"
		if got := report.Verdict(&test.result); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

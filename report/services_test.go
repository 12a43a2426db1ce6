package report_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

func TestPlainShowsTheOutputOfServicesThatFailOrIfAsked(t *testing.T) {
	stopped := event.StepResult{Status: event.Stopped, Started: start, Duration: ms(1000)}
	failed := event.StepResult{Status: event.Failed, ExitCode: 3, Started: start, Duration: ms(1000)}
	ignored := failed
	ignored.Ignored = true
	for name, test := range map[string]struct {
		result   event.StepResult
		services bool
		want     string
	}{
		"it does well": {stopped, false, `[db] started in postgres:18; its output is shown only if it fails
[test] started in golang:1.26
[test] ok
[db] stopped after 1s
`},
		"it is asked for": {stopped, true, `[db] started in postgres:18
[db] listening
[test] started in golang:1.26
[db] half and the rest
[test] ok
[db] stopped after 1s
`},
		"its failure is ignored": {ignored, false, `[db] started in postgres:18; its output is shown only if it fails
[test] started in golang:1.26
[test] ok
[db] failed with exit code 3 after 1s, ignored
[db] listening
[db] half and the rest
`},
		"it fails": {failed, false, `[db] started in postgres:18; its output is shown only if it fails
[test] started in golang:1.26
[test] ok
[db] failed with exit code 3 after 1s

service db failed: its command ended with exit code 3; what it printed:
db | listening
db | half and the rest

`},
	} {
		var out bytes.Buffer
		p := report.NewPlain(&out)
		p.Services = test.services
		test.result.Step, test.result.Service = "db", true
		line := func(step, text string, partial bool) event.Event {
			return event.Event{Kind: event.Line, Time: start, Step: step, Stream: event.Stdout, Text: text, Partial: partial}
		}
		events := []event.Event{
			{Kind: event.StepStarted, Time: start, Step: "db", Image: "postgres:18", Service: true},
			line("db", "listening", false),
			{Kind: event.StepStarted, Time: start, Step: "test", Image: "golang:1.26"},
			line("db", "half", true), line("db", " and the rest", false), line("test", "ok", false),
			{Kind: event.StepFinished, Time: start, Step: "db", Result: &test.result},
		}
		if report.IsFailure(&test.result) {
			events = append(events, event.Event{Kind: event.RunFinished, Time: start, Summary: &event.Summary{
				Name: "ci", Status: event.Failed, ExitCode: 3, Steps: []event.StepResult{test.result},
			}})
		}
		for _, e := range events {
			p.Event(e)
		}
		got, _, _ := bytes.Cut(out.Bytes(), []byte("STEP "))
		if diff := cmp.Diff(test.want, string(got)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

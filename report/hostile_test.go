package report_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/report/live"
)

// TestNothingOfARunCommandsTheTerminal: names, images and texts come from files of
// strangers.
func TestNothingOfARunCommandsTheTerminal(t *testing.T) {
	const evil = "a\x1b[2J\x1b]0;title\x07b"
	now := time.Now()
	step := event.StepResult{Step: evil, Image: evil, Status: event.Failed, ExitCode: 3, Reason: evil, Error: evil, Started: now}
	events := []event.Event{
		{Kind: event.RunStarted, Time: now, Name: evil, Steps: 1},
		{Kind: event.PullStarted, Time: now, Cell: evil, Image: evil},
		{Kind: event.PullProgress, Time: now, Cell: evil, Image: evil, Progress: &event.Progress{Bytes: 1, Total: 2, Layers: 1}},
		{Kind: event.PullFinished, Time: now, Cell: evil, Image: evil, Duration: event.Millis(time.Minute)},
		{Kind: event.StepStarted, Time: now, Cell: evil, Step: evil, Image: evil},
		{Kind: event.Line, Time: now, Cell: evil, Step: evil, Stream: event.Stdout, Text: evil},
		{Kind: event.StepRetried, Time: now, Cell: evil, Step: evil, Text: evil},
		{Kind: event.Warning, Time: now, Cell: evil, Step: evil, Text: evil},
		{Kind: event.StepKept, Time: now, Cell: evil, Step: evil, Text: evil},
		{Kind: event.StepFinished, Time: now, Cell: evil, Step: evil, Result: &step},
		{Kind: event.RunFinished, Time: now, Cell: evil, Summary: &event.Summary{
			Name: evil, Status: event.Failed, ExitCode: 3, Error: evil, Steps: []event.StepResult{step},
		}},
		{Kind: event.MatrixFinished, Time: now, Text: evil},
	}
	for name, show := range map[string]func(io.Writer) func(event.Event){
		"plain": func(w io.Writer) func(event.Event) { return report.NewPlain(w).Event },
		"quiet": func(w io.Writer) func(event.Event) { return report.NewQuiet(w).Event },
		"live": func(w io.Writer) func(event.Event) {
			view := live.New(w, live.Options{Size: func() (int, int) { return 200, 50 }})
			return func(e event.Event) {
				view.Event(e)
				if e.Kind == event.MatrixFinished {
					if err := view.End(); err != nil {
						t.Error(err)
					}
				}
			}
		},
	} {
		var out bytes.Buffer
		event := show(&out)
		for _, e := range events {
			event(e)
		}
		if text := out.String(); !strings.Contains(text, "a") || strings.Contains(text, "[2J") || strings.Contains(text, "title") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

package report_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/report/live"
)

// TestNothingOfARunCommandsTheTerminal: names, images and texts come from files of
// strangers.
func TestNothingOfARunCommandsTheTerminal(t *testing.T) {
	const evil = "a\x1b[2J\x1b]0;title\x07b"
	now := time.Now()
	step := engine.StepResult{Step: evil, Image: evil, Status: engine.Failed, ExitCode: 3, Reason: evil, Error: evil, Started: now}
	events := []engine.Event{
		{Kind: engine.RunStarted, Time: now, Name: evil, Steps: 1},
		{Kind: engine.PullStarted, Time: now, Cell: evil, Image: evil},
		{Kind: engine.PullProgress, Time: now, Cell: evil, Image: evil, Progress: &engine.Progress{Bytes: 1, Total: 2, Layers: 1}},
		{Kind: engine.PullFinished, Time: now, Cell: evil, Image: evil, Duration: engine.Millis(time.Minute)},
		{Kind: engine.StepStarted, Time: now, Cell: evil, Step: evil, Image: evil},
		{Kind: engine.Line, Time: now, Cell: evil, Step: evil, Stream: engine.Stdout, Text: evil},
		{Kind: engine.StepRetried, Time: now, Cell: evil, Step: evil, Text: evil},
		{Kind: engine.Warning, Time: now, Cell: evil, Step: evil, Text: evil},
		{Kind: engine.StepKept, Time: now, Cell: evil, Step: evil, Text: evil},
		{Kind: engine.StepFinished, Time: now, Cell: evil, Step: evil, Result: &step},
		{Kind: engine.RunFinished, Time: now, Cell: evil, Summary: &engine.Summary{
			Name: evil, Status: engine.Failed, ExitCode: 3, Error: evil, Steps: []engine.StepResult{step},
		}},
		{Kind: engine.MatrixFinished, Time: now, Text: evil},
	}
	for name, show := range map[string]func(io.Writer) func(engine.Event){
		"plain": func(w io.Writer) func(engine.Event) { return report.NewPlain(w).Event },
		"quiet": func(w io.Writer) func(engine.Event) { return report.NewQuiet(w).Event },
		"live": func(w io.Writer) func(engine.Event) {
			view := live.New(w, live.Options{Size: func() (int, int) { return 200, 50 }})
			return func(e engine.Event) {
				view.Event(e)
				if e.Kind == engine.MatrixFinished {
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

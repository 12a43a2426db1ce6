package live

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
)

func TestTheOutputOfServicesStaysIfTheyFailOrIfAsked(t *testing.T) {
	for _, test := range []struct {
		asked  bool
		result event.StepResult
		want   string
	}{
		{false, event.StepResult{Status: event.Stopped}, "- db stopped after 0s\n"},
		{true, event.StepResult{Status: event.Stopped}, "- db stopped after 0s\n    listening\n"},
		{false, event.StepResult{Status: event.Succeeded}, "+ db 0s\n"},
		{true, event.StepResult{Status: event.Succeeded}, "+ db 0s\n    listening\n"},
		{false, event.StepResult{Status: event.Failed, ExitCode: 3, Ignored: true}, "! db failed with exit code 3 after 0s, ignored\n    listening\n"},
		{false, event.StepResult{Status: event.Failed, ExitCode: 3}, "x db failed with exit code 3 after 0s\n"}, // the end has the lines
	} {
		s := seen()
		s.o.Services = test.asked
		s.event(event.Event{Kind: event.StepStarted, Time: start, Step: "db", Service: true})
		s.event(event.Event{Kind: event.Line, Time: start, Step: "db", Stream: event.Stdout, Text: "listening"})
		if block := strings.Join(s.block(after(1), 80, 24), "\n"); strings.Contains(block, "listening") != test.asked {
			t.Errorf("asked for: %t; while it runs:\n%s", test.asked, block)
		}
		test.result.Step, test.result.Service, test.result.Started = "db", true, start
		s.event(event.Event{Kind: event.StepFinished, Time: after(1), Step: "db", Result: &test.result})
		if diff := cmp.Diff(test.want, strings.Join(s.printed, "")); diff != "" {
			t.Errorf("asked for: %t; %s: -want +got:\n%s", test.asked, test.result.Status, diff)
		}
	}
}

func TestWhatAStepPrintedStaysWhenItEnds(t *testing.T) {
	s := seen()
	finished := func(r event.StepResult) {
		r.Started = start
		s.event(event.Event{Kind: event.StepFinished, Time: after(1), Step: r.Step, Result: &r})
	}
	line := func(step, text string) {
		s.event(event.Event{Kind: event.Line, Time: start, Step: step, Stream: event.Stdout, Text: text})
	}
	for _, step := range []string{"short", "long", "flaky", "bad", "db"} {
		s.event(event.Event{Kind: event.StepStarted, Time: start, Step: step, Service: step == "db"})
		line(step, step+" prints")
	}
	for i := range 30 {
		line("long", fmt.Sprint(i))
	}
	finished(event.StepResult{Step: "short", Status: event.Succeeded})
	finished(event.StepResult{Step: "long", Status: event.Succeeded})
	finished(event.StepResult{Step: "flaky", Status: event.Succeeded, Attempts: make([]event.Attempt, 2)})
	finished(event.StepResult{Step: "bad", Status: event.Failed, ExitCode: 1})
	finished(event.StepResult{Step: "db", Service: true, Status: event.Stopped})
	want := "+ short 0s\n    short prints\n+ long 0s\n    (11 lines before these)\n"
	for i := 10; i < 30; i++ {
		want += fmt.Sprintf("    %d\n", i)
	}
	want += "+ flaky 0s, flaky: attempt 2\n    flaky prints\nx bad failed with exit code 1 after 0s\n- db stopped after 0s\n"
	if diff := cmp.Diff(want, strings.Join(s.printed, "")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

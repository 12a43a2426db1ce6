package live

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
)

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

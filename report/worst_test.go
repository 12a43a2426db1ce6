package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// Of many runs the one that failed can be the last: a reader must not have to look for it.
func TestAPageOfSeveralRunsBeginsWithWhatWentWrong(t *testing.T) {
	c := report.NewCollector(0)
	for _, name := range []string{"first", "second", "third"} {
		result := event.StepResult{Step: "test", Status: event.Succeeded, Started: start}
		if name == "third" {
			result.Status, result.ExitCode = event.Failed, 3
		}
		cell := "GO=" + name
		c.Event(event.Event{Kind: event.RunStarted, Time: start, Cell: cell, Run: name, Name: "ci"})
		c.Event(event.Event{Kind: event.StepStarted, Time: start, Cell: cell, Step: "test"})
		c.Event(event.Event{Kind: event.Line, Time: start, Cell: cell, Step: "test", Stream: event.Stdout, Text: "said by " + name})
		c.Event(event.Event{Kind: event.StepFinished, Time: start, Cell: cell, Step: "test", Result: &result})
		c.Event(event.Event{Kind: event.RunFinished, Time: start, Cell: cell, Summary: &event.Summary{Run: name, Name: "ci", Status: result.Status, ExitCode: result.ExitCode, Steps: []event.StepResult{result}}})
	}
	page := report.PageOf(c.Report())
	if len(page.Worst) != 1 || page.Worst[0].Run.ID != "third" || page.Worst[0].Step.Tail != "said by third" || page.MoreWorst != 0 {
		t.Errorf("the page begins with %+v", page.Worst)
	}
	var out bytes.Buffer
	if err := report.WriteHTML(&out, c.Report()); err != nil {
		t.Fatal(err)
	}
	wrong, runs := strings.Index(out.String(), `id="worst"`), strings.Index(out.String(), `id="overview"`)
	if wrong < 0 || runs < wrong {
		t.Errorf("what went wrong is at %d, the runs at %d", wrong, runs)
	}
}

func TestAPageSaysThatNoStepRan(t *testing.T) {
	for status, want := range map[event.Status]bool{event.Skipped: true, event.Succeeded: false} {
		c := report.NewCollector(0)
		c.Event(event.Event{Kind: event.RunStarted, Run: "r", Name: "ci", Build: &event.Build{Event: "manual"}})
		c.Event(event.Event{Kind: event.RunFinished, Summary: &event.Summary{Run: "r", Name: "ci", Status: event.Succeeded, Steps: []event.StepResult{{Step: "a", Status: status}}}})
		var out bytes.Buffer
		if err := report.WriteHTML(&out, c.Report()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "No step ran."); got != want {
			t.Errorf("%s: says so: %v", status, got)
		}
		if strings.Contains(out.String(), "<dt>Event") {
			t.Error("a run by hand, of which nothing else is known, has the fact that it is one")
		}
	}
}

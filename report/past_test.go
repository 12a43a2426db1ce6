package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

func TestComparisonWithTheLastRun(t *testing.T) {
	step := func(name string, status event.Status, duration int) event.StepResult {
		return event.StepResult{Step: name, Status: status, Started: start, Duration: ms(duration)}
	}
	ignored, service := step("ignored", event.Failed, 1), step("service", event.Failed, 1)
	ignored.Ignored, service.Service = true, true
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunFinished, Time: start, Summary: &event.Summary{Run: "this", Status: event.Failed, Steps: []event.StepResult{
		step("fails", event.Failed, 1), step("times out", event.TimedOut, 1), step("still fails", event.Failed, 1), step("fixed", event.Succeeded, 1), step("new", event.Failed, 1),
		step("slow", event.Succeeded, 15_000), step("a bit slower", event.Succeeded, 14_000), step("short", event.Succeeded, 5000), step("cancelled", event.Cancelled, 1), ignored, service,
	}}})
	run := c.Report().Runs[0]
	run.AddPast([]event.Earlier{
		{Started: at(-1), Summary: event.Summary{Run: "last", Status: event.Failed, Duration: ms(5), Steps: []event.StepResult{
			step("fails", event.Succeeded, 1), step("times out", event.Succeeded, 1), step("still fails", event.TimedOut, 1), step("fixed", event.Failed, 1), step("gone", event.Failed, 1),
			step("slow", event.Succeeded, 10_000), step("a bit slower", event.Succeeded, 10_000), step("short", event.Succeeded, 1000), step("cancelled", event.Succeeded, 1), step("ignored", event.Succeeded, 1), step("service", event.Succeeded, 1),
		}}},
		{Started: at(-2), Summary: event.Summary{Run: "before", Status: event.Succeeded, Duration: ms(6)}},
	})
	want := &report.Comparison{
		Run: "last", NewlyFailing: []string{"fails", "times out"}, Fixed: []string{"fixed"},
		Slower: []report.Slower{{Step: "slow", Before: ms(10_000), Now: ms(15_000)}},
	}
	if diff := cmp.Diff(want, run.Compared); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	past := []report.PastRun{{ID: "before", Status: event.Succeeded, Started: at(-2), Duration: ms(6)}, {ID: "last", Status: event.Failed, Started: at(-1), Duration: ms(5)}}
	if diff := cmp.Diff(past, run.Past); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestARunWithoutAPastIsNotCompared(t *testing.T) {
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunFinished, Time: start, Summary: &event.Summary{Run: "this", Status: event.Succeeded}})
	made := c.Report()
	made.Runs[0].AddPast(nil)
	for _, kind := range report.Kinds() {
		var out bytes.Buffer
		if err := report.Write(&out, report.Kind(kind), made); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"Last runs", "compared", "since the last run", `"past"`} {
			if strings.Contains(out.String(), text) {
				t.Errorf("%s has %q", kind, text)
			}
		}
	}
}

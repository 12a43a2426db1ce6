package report_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

func TestPlainNamesTheCellAndTheReason(t *testing.T) {
	var out bytes.Buffer
	p := report.NewPlain(&out)
	for _, e := range []event.Event{
		{Kind: event.StepStarted, Step: "build", Cell: "GO=1.26", Image: "golang"},
		{Kind: event.Line, Step: "build", Cell: "GO=1.26", Text: "hello"},
		{Kind: event.StepRetried, Step: "build", Cell: "GO=1.26", Text: "attempt 1 of 2: failed with exit code 1; again in 1s"},
		{Kind: event.StepFinished, Step: "deploy", Result: &event.StepResult{Step: "deploy", Status: event.Skipped, Reason: `branch is "x", not "main"`}},
		{Kind: event.MatrixFinished, Text: "matrix: all 2 cells succeeded"},
	} {
		p.Event(e)
	}
	want := `[build (GO=1.26)] started in golang
[build (GO=1.26)] hello
[build (GO=1.26)] attempt 1 of 2: failed with exit code 1; again in 1s
[deploy] skipped: branch is "x", not "main"

matrix: all 2 cells succeeded
`
	if diff := cmp.Diff(want, out.String()); diff != "" || p.Err() != nil {
		t.Errorf("error %v, output (-want +got):\n%s", p.Err(), diff)
	}
}

// TestReportHasRunsInTheOrderOfTheFile: cells that run at once begin in any order.
func TestReportHasRunsInTheOrderOfTheFile(t *testing.T) {
	c := report.NewCollector(0)
	c.Plan("GO=3", "r3", "ci (GO=3)", start, nil) // as from a record
	for _, e := range []event.Event{
		{Kind: event.RunStarted, Run: "r3", Name: "ci (GO=3)", Cell: "GO=3", Position: 3},
		{Kind: event.RunStarted, Run: "r1", Name: "ci (GO=1)", Cell: "GO=1", Position: 1},
		{Kind: event.RunStarted, Run: "r2", Name: "ci (GO=2)", Cell: "GO=2", Position: 2},
	} {
		c.Event(e)
	}
	for what, made := range map[string]*report.Report{"Now": c.Now(), "Report": c.Report()} {
		var order []string
		for _, run := range made.Runs {
			order = append(order, run.ID)
		}
		if !slices.Equal(order, []string{"r1", "r2", "r3"}) {
			t.Errorf("%s has the runs in the order %q", what, order)
		}
	}
}

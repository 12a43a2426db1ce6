package report_test

import (
	"bytes"
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

package report_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/report"
)

func TestPlainNamesTheCellAndTheReason(t *testing.T) {
	var out bytes.Buffer
	p := report.NewPlain(&out)
	for _, e := range []engine.Event{
		{Kind: engine.StepStarted, Step: "build", Cell: "GO=1.26", Image: "golang"},
		{Kind: engine.Line, Step: "build", Cell: "GO=1.26", Text: "hello"},
		{Kind: engine.StepRetried, Step: "build", Cell: "GO=1.26", Text: "attempt 1 of 2: failed with exit code 1; again in 1s"},
		{Kind: engine.StepFinished, Step: "deploy", Result: &engine.StepResult{Step: "deploy", Status: engine.Skipped, Reason: `branch is "x", not "main"`}},
		{Kind: engine.MatrixFinished, Text: "matrix: all 2 cells succeeded"},
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

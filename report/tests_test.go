package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// failedTests is a run of two steps with the same failed test, which fails the first of them alone.
func failedTests() *report.Report {
	failure := event.TestFailure{
		Name: "carries", Suite: "Sum", File: "sum.go", Line: 12, Duration: ms(1200),
		Message: "want 3, have 2", Text: "want 3, have 2\nat sum.go:12\n```\n</details>\x1b[31m red",
	}
	tests := &event.Tests{Files: 1, Total: 3, Failed: 1, Failures: []event.TestFailure{failure}}
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r", Name: "ci"})
	c.Event(event.Event{Kind: event.RunFinished, Time: start, Summary: &event.Summary{
		Run: "r", Name: "ci", Status: event.Failed, ExitCode: 1, Steps: []event.StepResult{
			{Step: "unit", Status: event.Failed, ExitCode: 1, Started: start, Tests: tests},
			{Step: "flaky", Status: event.Succeeded, Started: start, Tests: tests},
		},
	}})
	return c.Report()
}

// A failed test is a case of its own, and red only where it failed its step.
func TestJUnitHasTheFailedTestsOfSteps(t *testing.T) {
	var out bytes.Buffer
	if err := report.WriteJUnit(&out, failedTests()); err != nil {
		t.Fatal(err)
	}
	checkJUnit(t, out.String())
	for _, want := range []string{
		`<testsuite name="ci" tests="4" failures="2" errors="0" skipped="1"`,
		`<testcase name="Sum: carries" classname="ci.unit" time="1.200">` + "\n      " + `<failure message="want 3, have 2" type="test">sum.go:12&#xA;want 3, have 2&#xA;at sum.go:12&#xA;`,
		`<testcase name="Sum: carries" classname="ci.flaky" time="1.200">` + "\n      " + `<skipped message="failed, and did not fail the step: want 3, have 2">`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// Markdown shows the text of a failed test as it is, whatever is in it.
func TestMarkdownHasTheTextOfFailedTests(t *testing.T) {
	var out bytes.Buffer
	if err := report.WriteMarkdown(&out, failedTests()); err != nil {
		t.Fatal(err)
	}
	const want = "\n\n  ````text\n  at sum.go:12\n  ```\n  </details> red\n  ````\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

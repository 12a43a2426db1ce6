package report

import (
	"fmt"
	"strings"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// Limits of what a summary lists of tests.
const (
	summaryTests    = 20 // failed tests of a step
	summaryTestText = 10 // lines of what the report says about each
)

// testsLine counts the tests of a step.
func testsLine(t *event.Tests) string {
	text := fmt.Sprintf("%d of %d tests failed", t.Failed, t.Total)
	if t.Failed == 0 {
		text = plural(t.Total, "test") + ", none failed"
	}
	if t.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", t.Skipped)
	}
	if t.Flaky > 0 {
		text += fmt.Sprintf(", %d flaky", t.Flaky)
	}
	return text + ", in " + Duration(t.Duration)
}

// testList says how the tests of a run have ended: those that failed, with the beginning of their texts, the
// slowest ones and the flaky ones. "": there are no tests.
func testList(steps []event.StepResult, flaky []FlakyTest) string {
	var b strings.Builder
	for i := range steps {
		t := steps[i].Tests
		if t == nil {
			continue
		}
		fmt.Fprintf(&b, "tests of %s: %s\n", logs.Quote(steps[i].Step), testsLine(t))
		for j := range t.Failures[:min(len(t.Failures), summaryTests)] {
			failedTest(&b, &t.Failures[j])
		}
		if more := t.Failed - min(len(t.Failures), summaryTests); more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
		if slowest := slowestTests(t); slowest != "" {
			b.WriteString("  slowest: " + slowest + "\n")
		}
		for _, line := range flakyLines(flaky, steps[i].Step) {
			b.WriteString("  " + flakyTitle + line + "\n")
		}
		for _, problem := range t.Problems {
			b.WriteString("  not read: " + logs.Quote(problem) + "\n")
		}
	}
	return b.String()
}

func failedTest(b *strings.Builder, f *event.TestFailure) {
	b.WriteString("  failed: " + logs.Quote(f.Title()))
	if place := testPlace(f); place != "" {
		b.WriteString(" (" + place + ")")
	}
	b.WriteString("\n")
	for _, line := range testText(f, summaryTestText) {
		b.WriteString("    | " + logs.Quote(line) + "\n") // marked as in Clean
	}
}

// testPlace is the file and line of a failed test, as far as they are known.
func testPlace(f *event.TestFailure) string {
	switch {
	case f.File == "":
		return ""
	case f.Line == 0:
		return logs.Quote(f.File)
	}
	return fmt.Sprintf("%s:%d", logs.Quote(f.File), f.Line)
}

// testText is the message of a failed test and the beginning of its text, without saying anything twice.
func testText(f *event.TestFailure, most int) []string {
	text := strings.TrimSpace(f.Text)
	if !strings.Contains(text, strings.TrimSpace(f.Message)) {
		text = f.Message + "\n" + text
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) > most {
		lines = append(lines[:most], "…")
	}
	return lines
}

func slowestTests(t *event.Tests) string {
	var all []string
	for i := range t.Slowest {
		if t.Slowest[i].Duration > 0 {
			all = append(all, logs.Quote(t.Slowest[i].Title())+" "+Duration(t.Slowest[i].Duration))
		}
	}
	return strings.Join(all, ", ")
}

// TestFailures calls show with the failed tests of a step, at most as many as a summary lists.
func TestFailures(r *event.StepResult, show func(f *event.TestFailure, text string)) {
	if r.Tests == nil {
		return
	}
	for i := range r.Tests.Failures[:min(len(r.Tests.Failures), summaryTests)] {
		f := &r.Tests.Failures[i]
		show(f, strings.Join(testText(f, summaryTestText), "\n"))
	}
}

package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// progress is a step that draws a bar in each of the ways that programs have, and then fails.
func progress() *report.Report {
	c := report.NewCollector(0)
	line := func(text string, partial bool) {
		c.Event(event.Event{Kind: event.Line, Time: start, Step: "build", Stream: event.Stderr, Text: text, Partial: partial})
	}
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r", Name: "ci"})
	line("the error", false)
	for i := range 10_000 {
		line(fmt.Sprintf("\rbefore %d", i), true)
	}
	line("", false)
	for i := range 10_000 {
		line(fmt.Sprintf("behind %d\r", i), true)
	}
	line("", false)
	line(strings.Repeat("a line of many states\r", 100)+"its last", false)
	line("goes ", true)
	line("on", false)
	line("no end", true)
	c.Event(event.Event{Kind: event.RunFinished, Time: start, Summary: &event.Summary{
		Run: "r", Name: "ci", Status: event.Failed, ExitCode: 1, Steps: []event.StepResult{{Step: "build", Status: event.Failed, ExitCode: 1, Started: start}},
	}})
	return c.Report()
}

func TestAProgressBarIsOneLineOfEveryTail(t *testing.T) {
	const want = "the error\nbefore 9999\nbehind 9999\nits last\ngoes on\nno end\n"
	r := progress()
	var markdown, junit, page, document bytes.Buffer
	for kind, w := range map[report.Kind]*bytes.Buffer{report.KindMarkdown: &markdown, report.KindJUnit: &junit, report.KindHTML: &page, report.KindJSON: &document} {
		if err := report.Write(w, kind, r); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(markdown.String(), "text\n"+want+"```") {
		t.Errorf("Markdown:\n%s", markdown.String())
	}
	if !strings.Contains(junit.String(), strings.ReplaceAll(want, "\n", "&#xA;")) {
		t.Errorf("JUnit:\n%s", junit.String())
	}
	if !strings.Contains(page.String(), `data-p="6"`) {
		t.Error("HTML has another number of lines")
	}
	var got struct {
		Runs []struct {
			Steps []struct {
				Log struct {
					Lines int
					Tail  []struct{ Text string }
				}
			}
		}
	}
	if err := json.Unmarshal(document.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, line := range got.Runs[0].Steps[0].Log.Tail {
		text += line.Text + "\n"
	}
	if text != want || got.Runs[0].Steps[0].Log.Lines != 6 {
		t.Errorf("JSON: %q", text)
	}
}

func TestATailFoldsProgressThatEndsWithACarriageReturn(t *testing.T) {
	tail := report.Tail{Max: 3}
	for i := range 100 {
		tail.Add(event.Event{Stream: event.Stdout, Text: fmt.Sprintf("%d%%\r", i), Partial: true})
	}
	tail.Add(event.Event{Stream: event.Stdout, Text: "done"})
	if lines := tail.Lines(); len(lines) != 1 || lines[0] != "done" {
		t.Errorf("%q", lines)
	}
}

func TestALineWithoutAnEndIsBounded(t *testing.T) {
	c := report.NewCollector(0)
	for range 1000 {
		c.Event(event.Event{Kind: event.Line, Step: "a", Stream: event.Stdout, Text: strings.Repeat("x", 1000), Partial: true})
	}
	var out bytes.Buffer
	if err := report.WriteJSON(&out, c.Report()); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 400_000 {
		t.Errorf("%d bytes", out.Len())
	}
}

package report_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

func TestTheReportUpToNowDoesNotEndTheCollection(t *testing.T) {
	c := report.NewCollector(0)
	line := func(text string, partial bool) {
		c.Event(event.Event{Kind: event.Line, Time: start, Step: "a", Stream: event.Stdout, Text: text, Partial: partial})
	}
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r", Name: "ci"})
	c.Event(event.Event{Kind: event.StepStarted, Time: start, Step: "a"})
	for i := range 501 {
		line(fmt.Sprint("line ", i), false)
	}
	line("half a ", true)
	before := c.Now()
	line("line", false)
	c.Event(event.Event{Kind: event.StepFinished, Time: start, Step: "a", Result: &event.StepResult{Step: "a", Status: event.Failed, ExitCode: 3, Started: start}})
	if s := before.Runs[0].Steps[0]; s.Status != event.Running {
		t.Errorf("the earlier report has changed: the step is %s", s.Status)
	}
	now := c.Now()
	step := now.Runs[0].Steps[0]
	if got := fmt.Sprint(step.Status, step.Log.Pieces()); got != "failed[500 2]" {
		t.Errorf("the step and its pieces: %s", got)
	}
	if data, compressed := step.Log.Piece(501); compressed || string(data) != "o0 line 500\no0 half a line\n" {
		t.Errorf("the last piece: %q, compressed %v", data, compressed)
	}
	if data, compressed := step.Log.Piece(1); !compressed || !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		t.Errorf("the first piece: %q, compressed %v", data, compressed)
	}
	for _, first := range []int{-1, 0, 2, 500, 503, 1 << 30} {
		if data, _ := step.Log.Piece(first); data != nil {
			t.Errorf("a piece begins with line %d: %q", first, data)
		}
	}
	tail, err := step.Log.Tail(3)
	if err != nil || len(tail) != 3 || tail[2].Text != "half a line" || tail[0].Text != "line 499" {
		t.Errorf("the last lines: %+v, %v", tail, err)
	}
	if page := report.PageOf(now); page.Runs[0].Bad[0].Tail == "" {
		t.Error("the page has no last lines of what failed")
	}
}

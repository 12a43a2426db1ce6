package live

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
)

// BenchmarkFrame draws 20 steps that print; the view does so ten times a second.
func BenchmarkFrame(b *testing.B) {
	began := time.Now()
	s := newState(Options{})
	s.event(event.Event{Kind: event.RunStarted, Time: began, Name: "ci", Steps: 20})
	for i := range 20 {
		s.event(event.Event{Kind: event.StepStarted, Time: began, Step: fmt.Sprintf("step-%02d", i), Image: "docker.io/library/golang:1.26"})
	}
	view := &screen{w: io.Discard}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		for i := range 20 {
			s.event(event.Event{Kind: event.Line, Step: fmt.Sprintf("step-%02d", i), Stream: event.Stdout, Text: fmt.Sprintf("\x1b[32mok\x1b[0m   example.com/package/%d 0.412s", n)})
		}
		view.draw("", s.block(began.Add(time.Duration(n)*interval), 200, 60), 200)
	}
}

package report_test

import (
	"fmt"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// BenchmarkLog is what a report costs while a step prints.
func BenchmarkLog(b *testing.B) {
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r", Name: "ci"})
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("%6d compiling github.com/example/module/package%d/file.go: %x", i, i%97, uint64(i)*0x9e3779b97f4a7c15)+" and some more to be 100 bytes")
	}
	e := event.Event{Kind: event.Line, Time: start, Step: "loud", Stream: event.Stdout}
	b.SetBytes(100)
	for i := 0; b.Loop(); i++ {
		e.Text = lines[i%len(lines)]
		c.Event(e)
	}
}

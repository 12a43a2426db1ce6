package report_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// BenchmarkLine shows a line of 100 bytes.
func BenchmarkLine(b *testing.B) {
	line := event.Event{Kind: event.Line, Time: time.Now(), Step: "build", Stream: event.Stdout, Text: strings.Repeat("compiling ", 10)[:99]}
	for name, show := range map[string]func(event.Event){
		"plain": report.NewPlain(io.Discard).Event,
		"json":  report.NewJSON(io.Discard).Event,
	} {
		b.Run(name, func(b *testing.B) {
			show(event.Event{Kind: event.StepStarted, Step: line.Step})
			b.SetBytes(100)
			for b.Loop() {
				show(line)
			}
		})
	}
}

// BenchmarkQuoted quotes the names of a line, which every display does for every line.
func BenchmarkQuoted(b *testing.B) {
	line := event.Event{Kind: event.Line, Time: time.Now(), Step: "build", Cell: "GO=1.26", Stream: event.Stdout, Text: strings.Repeat("compiling ", 10)[:99]}
	for b.Loop() {
		report.Quoted(line)
	}
}

package report_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/report"
)

// BenchmarkLine shows a line of 100 bytes.
func BenchmarkLine(b *testing.B) {
	line := engine.Event{Kind: engine.Line, Time: time.Now(), Step: "build", Stream: engine.Stdout, Text: strings.Repeat("compiling ", 10)[:99]}
	for name, show := range map[string]func(engine.Event){
		"plain": report.NewPlain(io.Discard).Event,
		"json":  report.NewJSON(io.Discard).Event,
	} {
		b.Run(name, func(b *testing.B) {
			show(engine.Event{Kind: engine.StepStarted, Step: line.Step})
			b.SetBytes(100)
			for b.Loop() {
				show(line)
			}
		})
	}
}

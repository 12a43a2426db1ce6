package engine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// alternating prints lines 1 to 200, the odd ones to stdout and the even ones to stderr.
const alternating = `i=0; while [ $i -lt 100 ]; do echo $((2*i+1)); echo $((2*i+2)) >&2; i=$((i+1)); done`

func counted(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

// alternatingSteps is a pipeline of twenty steps, one after the other, that all alternate.
func alternatingSteps() string {
	var b strings.Builder
	b.WriteString("steps:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - {name: s%d, image: 'oci:busybox', entrypoint: [sh, -c, '%s']}\n", i, alternating)
	}
	return b.String()
}

func TestLinesOfBothStreamsKeepTheOrderInWhichTheyWereWritten(t *testing.T) {
	_, events := newBench(t).run(t, t.Context(), alternatingSteps(), pipeline.Inputs{}, nil)
	printed := map[string]*strings.Builder{}
	for _, e := range events {
		switch {
		case e.Kind == event.StepStarted:
			printed[e.Step] = &strings.Builder{}
		case e.Kind == event.Line:
			fmt.Fprintln(printed[e.Step], e.Text)
		}
	}
	if len(printed) != 20 {
		t.Fatalf("%d steps ran", len(printed))
	}
	for step, text := range printed {
		if text.String() != counted(200) {
			t.Errorf("step %s printed in this order:\n%s", step, text)
		}
	}
}

func TestStreamsThatAreKeptApart(t *testing.T) {
	b := newBench(t)
	b.streams = engine.Streams{Apart: true}
	_, events := b.run(t, t.Context(), `
steps:
  - {name: both, image: 'oci:busybox', entrypoint: [sh, -c, 'echo out; echo err >&2']}
`, pipeline.Inputs{}, nil)
	streams := map[string]string{}
	for _, e := range events {
		if e.Kind == event.Line {
			streams[e.Text] = e.Stream
		}
	}
	if streams["out"] != event.Stdout || streams["err"] != event.Stderr {
		t.Errorf("lines by stream: %v", streams)
	}
}

func TestOneWriterTakesBothStreamsInOrder(t *testing.T) {
	b := newBench(t)
	for range 20 {
		var out bytes.Buffer
		b.streams = engine.Streams{Stdout: &out}
		b.run(t, t.Context(), `
steps:
  - {name: both, image: 'oci:busybox', entrypoint: [sh, -c, '`+alternating+`']}
`, pipeline.Inputs{}, nil)
		if out.String() != counted(200) {
			t.Fatalf("printed in this order:\n%s", &out)
		}
	}
}

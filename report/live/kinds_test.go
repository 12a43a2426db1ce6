package live

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/event/eventtest"
)

// TestEveryKindReachesTheTerminal looks at what is drawn and printed after each event.
func TestEveryKindReachesTheTerminal(t *testing.T) {
	want := map[event.Kind]string{
		event.RunStarted:     eventtest.Name + ": 0 of 1 steps done",
		event.PullStarted:    "pull " + eventtest.Image,
		event.PullProgress:   "34.2MB/76MB",
		event.PullFinished:   "+ " + eventtest.Image + " pulled: 34.2MB in 2s",
		event.StepStarted:    "  the-step  " + eventtest.Image,
		event.StepRetried:    "~ the-step " + eventtest.Retried,
		event.Line:           "    " + eventtest.Line,
		event.Warning:        "! the-step: " + eventtest.Warning,
		event.StepFinished:   "x the-step failed with exit code 7 after 3s",
		event.StepKept:       "> the-step " + eventtest.Kept,
		event.RunFinished:    eventtest.Name + ": failed with exit code 7 after 5s",
		event.MatrixFinished: "\n" + eventtest.Matrix,
		event.Failure:        "", // the command line writes it to stderr
	}
	s := newState(Options{Plain: true})
	var seen strings.Builder
	for _, e := range eventtest.Sample() {
		s.event(e)
		seen.WriteString(strings.Join(s.block(e.Time, 120, 24), "\n") + "\n")
	}
	seen.WriteString(strings.Join(s.printed, ""))
	for _, kind := range event.Kinds() {
		text, ok := want[kind]
		if !ok {
			t.Errorf("the test does not say what is shown of %s", kind)
		}
		if !strings.Contains(seen.String(), text) {
			t.Errorf("%s: no %q in:\n%s", kind, text, seen.String())
		}
	}
}

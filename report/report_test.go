package report_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// events are those of a run in which everything happens.
func events() []event.Event {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ms := func(n int) event.Millis { return event.Millis(time.Duration(n) * time.Millisecond) }
	results := []event.StepResult{
		{Step: "db", Service: true, Image: "postgres", Status: event.Stopped, Started: at, Duration: ms(61_400)},
		{Step: "build", Image: "golang", Status: event.Succeeded, Started: at, Duration: ms(1240)},
		{Step: "lint", Image: "golang", Status: event.Failed, ExitCode: 3, Ignored: true, Started: at, Duration: ms(12)},
		{Step: "test", Image: "golang", Status: event.Failed, ExitCode: 137, OOM: true, Started: at, Duration: ms(300), Error: "out of memory"},
		{Step: "slow", Image: "golang", Status: event.TimedOut, ExitCode: 124, Started: at, Duration: ms(5000), Error: "the step's time is over"},
		{Step: "push", Image: "golang", Status: event.Skipped},
	}
	return []event.Event{
		{Kind: event.RunStarted, Version: event.Version, Time: at, Run: "r1", Name: "ci"},
		{Kind: event.Warning, Time: at, Text: "a secret is short"},
		{Kind: event.PullStarted, Time: at, Image: "golang"},
		{Kind: event.PullFinished, Time: at, Image: "golang", Digest: "sha256:12", Duration: ms(2500)},
		{Kind: event.StepStarted, Time: at, Step: "build", Image: "golang"},
		{Kind: event.Line, Time: at, Step: "build", Stream: event.Stdout, Text: "<ok> & done"},
		{Kind: event.Line, Time: at, Step: "build", Stream: event.Stderr, Text: "a piece", Partial: true},
		{Kind: event.StepFinished, Time: at, Step: "build", Result: &results[1]},
		{Kind: event.StepFinished, Time: at, Step: "lint", Result: &results[2]},
		{Kind: event.StepFinished, Time: at, Step: "test", Result: &results[3]},
		{Kind: event.StepFinished, Time: at, Step: "push", Result: &results[5]},
		{Kind: event.RunFinished, Time: at, Summary: &event.Summary{
			Run: "r1", Name: "ci", Status: event.Failed, ExitCode: 137, Duration: ms(75_000), Steps: results,
		}},
	}
}

func TestPlainReadsLikeALog(t *testing.T) {
	var out bytes.Buffer
	p := report.NewPlain(&out)
	for _, e := range events() {
		p.Event(e)
	}
	want := `warning: a secret is short
image golang ready after 2.5s
[build] started in golang
[build] <ok> & done
[build] a piece
[build] succeeded after 1.2s
[lint] failed with exit code 3 after 12ms, ignored
[test] failed with exit code 137 after 300ms: out of memory
[push] skipped

step test failed: out of memory; it printed nothing

step slow was stopped: the step's time is over; it printed nothing

STEP   STATUS                  EXIT  QUEUE  PULL  START    RUN  CPU  MEMORY  IMAGE
db     stopped                    -     0s    0s     0s  1m 1s    -       -  -
build  succeeded                  0     0s    0s     0s   1.2s    -       -  -
lint   failed (ignored)           3     0s    0s     0s   12ms    -       -  -
test   failed (out of memory)   137     0s    0s     0s  300ms    -       -  -
slow   timed out                124     0s    0s     0s     5s    -       -  -
push   skipped                    -      -     -      -      -    -       -  -

ci: failed with exit code 137 after 1m 15s
`
	if diff := cmp.Diff(want, out.String()); diff != "" || p.Err() != nil {
		t.Errorf("error %v, output (-want +got):\n%s", p.Err(), diff)
	}
}

func TestJSONIsOneEventALine(t *testing.T) {
	var out bytes.Buffer
	j := report.NewJSON(&out)
	for _, e := range events()[4:8] {
		j.Event(e)
	}
	want := `{"time":"2026-11-23T12:00:00Z","kind":"step_started","step":"build","image":"golang"}
{"time":"2026-11-23T12:00:00Z","kind":"line","step":"build","stream":"stdout","text":"<ok> & done"}
{"time":"2026-11-23T12:00:00Z","kind":"line","step":"build","stream":"stderr","text":"a piece","partial":true}
{"time":"2026-11-23T12:00:00Z","kind":"step_finished","step":"build","result":{"step":"build","image":"golang","status":"succeeded","exit_code":0,"started":"2026-11-23T12:00:00Z","duration_ms":1240}}
`
	if diff := cmp.Diff(want, out.String()); diff != "" || j.Err() != nil {
		t.Errorf("error %v, output (-want +got):\n%s", j.Err(), diff)
	}
}

var errFull = errors.New("disk full")

// fullWriter fails at its second write.
type fullWriter struct{ writes int }

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes > 1 {
		return 0, errFull
	}
	return len(p), nil
}

type printer interface {
	Event(event.Event)
	Err() error
}

func TestAFailedWriteIsKeptAndEndsTheOutput(t *testing.T) {
	for name, newPrinter := range map[string]func(w io.Writer) printer{
		"plain": func(w io.Writer) printer { return report.NewPlain(w) },
		"json":  func(w io.Writer) printer { return report.NewJSON(w) },
	} {
		t.Run(name, func(t *testing.T) {
			w := &fullWriter{}
			p := newPrinter(w)
			for _, e := range events() {
				p.Event(e)
			}
			if !errors.Is(p.Err(), errFull) || w.writes != 2 {
				t.Errorf("error %v after %d writes", p.Err(), w.writes)
			}
		})
	}
}

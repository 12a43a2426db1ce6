package report_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/event/eventtest"
	"github.com/stepexec/stepexec/report"
)

// everyKind says what a display must show of an event of each kind; nothing is "".
type everyKind map[event.Kind]string

// hold checks what a display wrote about eventtest.Sample.
func (want everyKind) hold(t *testing.T, got string) {
	t.Helper()
	for _, kind := range event.Kinds() {
		text, ok := want[kind]
		if !ok {
			t.Errorf("the test does not say what is shown of %s", kind)
		}
		if !strings.Contains(got, text) {
			t.Errorf("%s: no %q in:\n%s", kind, text, got)
		}
	}
}

func TestEveryKindReachesEveryPrinter(t *testing.T) {
	for name, test := range map[string]struct {
		printer func(io.Writer) printer
		want    everyKind
	}{
		"plain": {func(w io.Writer) printer { return report.NewPlain(w) }, everyKind{
			event.RunStarted: "", event.PullStarted: "", event.PullProgress: "", event.Failure: "",
			event.PullFinished:   "image " + eventtest.Image + " ready after 2s\n",
			event.StepStarted:    "[the-step] started in " + eventtest.Image + "\n",
			event.StepRetried:    "[the-step] " + eventtest.Retried + "\n",
			event.Line:           "[the-step] " + eventtest.Line + "\n",
			event.Warning:        "warning: the-step: " + eventtest.Warning + "\n",
			event.StepFinished:   "[the-step] failed with exit code 7 after 3s\n",
			event.StepKept:       "[the-step] " + eventtest.Kept + "\n",
			event.RunFinished:    eventtest.Name + ": failed with exit code 7 after 5s\n",
			event.MatrixFinished: "\n" + eventtest.Matrix + "\n",
		}},
		"quiet": {func(w io.Writer) printer { return report.NewQuiet(w) }, everyKind{
			event.RunStarted: "", event.PullStarted: "", event.PullProgress: "", event.PullFinished: "", event.StepStarted: "",
			event.StepRetried: "", event.Warning: "", event.Failure: "", event.StepFinished: "",
			event.Line:           "the-step | " + eventtest.Line + "\n",
			event.StepKept:       "the-step " + eventtest.Kept + "\n",
			event.RunFinished:    eventtest.Name + ": failed with exit code 7 after 5s\n",
			event.MatrixFinished: eventtest.Matrix + "\n",
		}},
		"json": {func(w io.Writer) printer { return report.NewJSON(w) }, everyKind{
			event.RunStarted:     `"kind":"run_started","version":1,"run":"` + eventtest.Run,
			event.PullStarted:    `"kind":"pull_started","image":"` + eventtest.Image,
			event.PullProgress:   `"progress":{"bytes":34200000,`,
			event.PullFinished:   `"kind":"pull_finished","image":"` + eventtest.Image,
			event.StepStarted:    `"kind":"step_started","step":"the-step"`,
			event.StepRetried:    eventtest.Retried,
			event.Line:           `"kind":"line","step":"the-step","stream":"stdout","text":"` + eventtest.Line,
			event.Warning:        eventtest.Warning,
			event.StepFinished:   `"kind":"step_finished","step":"the-step","result":{`,
			event.StepKept:       `"kind":"step_kept","step":"the-step","text":"` + eventtest.Kept,
			event.RunFinished:    `"kind":"run_finished","summary":{`,
			event.MatrixFinished: eventtest.Matrix,
			event.Failure:        `"error":"` + eventtest.Failure + `","file":"ci.yml","line":3,"column":5`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			p := test.printer(&out)
			for _, e := range eventtest.Sample() {
				p.Event(e)
			}
			test.want.hold(t, out.String())
			if p.Err() != nil {
				t.Error(p.Err())
			}
		})
	}
}

// TestQuietIsSilentAboutAKeptStepOfARunThatSucceeds: nothing is to be said when all is well.
func TestQuietIsSilentAboutAKeptStepOfARunThatSucceeds(t *testing.T) {
	var out bytes.Buffer
	q := report.NewQuiet(&out)
	q.Event(event.Event{Kind: event.StepKept, Step: "a", Text: eventtest.Kept})
	q.Event(event.Event{Kind: event.RunFinished, Summary: &event.Summary{Status: event.Succeeded}})
	if out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}

func TestEveryKindReachesEveryReport(t *testing.T) {
	const command = "stepexec shell 4qpjm4ppoc the-step"
	for kind, want := range map[report.Kind]everyKind{
		report.KindJSON: {
			event.RunStarted: `"started": "2026-11-23T12:00:00Z"`, event.PullStarted: "", event.PullProgress: "",
			event.PullFinished: `"image": "` + eventtest.Image, event.StepStarted: `"started": "2026-`,
			event.StepRetried: eventtest.Retried, event.Line: `"text": "` + eventtest.Line, event.Warning: eventtest.Warning,
			event.StepFinished: `"exit_code": 7`, event.StepKept: `"kept": "` + command + `"`,
			event.RunFinished: `"duration_ms": 5000`, event.MatrixFinished: "", event.Failure: "ci.yml:3:5: " + eventtest.Failure,
		},
		report.KindMarkdown: {
			event.RunStarted: eventtest.Name, event.PullStarted: "", event.PullProgress: "", event.PullFinished: "", event.StepStarted: "",
			event.StepRetried: "", event.Line: "\n" + eventtest.Line + "\n", event.Warning: "- the-step&#58; " + eventtest.Warning,
			event.StepFinished: "failed with exit code 7 after 3s", event.StepKept: "Kept steps:\n\n- the-step: " + command + "\n",
			event.RunFinished: "failed with exit code 7 after 5s", event.MatrixFinished: "", event.Failure: eventtest.Failure,
		},
		report.KindJUnit: {
			event.RunStarted: `timestamp="2026-11-23T12:00:00"`, event.PullStarted: "", event.PullProgress: "", event.PullFinished: "", event.StepStarted: "",
			event.StepRetried: "", event.Line: eventtest.Line, event.Warning: "warning: the-step: " + eventtest.Warning,
			event.StepFinished: `type="exit code 7"`, event.StepKept: "step the-step was kept: " + command,
			event.RunFinished: `time="5.000"`, event.MatrixFinished: "", event.Failure: eventtest.Failure,
		},
		report.KindHTML: {
			event.RunStarted: eventtest.Run, event.PullStarted: "", event.PullProgress: "", event.PullFinished: "", event.StepStarted: "",
			event.StepRetried: "", event.Line: "1 line", event.Warning: eventtest.Warning,
			event.StepFinished: "failed with exit code 7 after 3s", event.StepKept: "kept: " + command,
			event.RunFinished: "<dd>5s</dd>", event.MatrixFinished: "", event.Failure: eventtest.Failure,
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			c := report.NewCollector(0)
			for _, e := range eventtest.Sample() {
				c.Event(e)
			}
			r := c.Report()
			r.Made = time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
			var out bytes.Buffer
			if err := report.Write(&out, kind, r); err != nil {
				t.Fatal(err)
			}
			want.hold(t, out.String())
		})
	}
}

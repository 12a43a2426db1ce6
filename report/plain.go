package report

import (
	"fmt"
	"io"
	"time"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/logs"
)

// Plain writes events as lines that people read: a step's output behind the
// step's name, and what stepexec does in between.
type Plain struct {
	w       io.Writer
	streams map[streamOf]*logs.Sanitizer
	err     error
}

// streamOf is one of the two streams of a step.
type streamOf struct{ step, cell, stream string }

// NewPlain returns a Plain that writes to w.
func NewPlain(w io.Writer) *Plain {
	return &Plain{w: w, streams: map[streamOf]*logs.Sanitizer{}}
}

// Event writes one event. After a failed write it writes nothing more.
func (p *Plain) Event(e engine.Event) {
	switch e.Kind {
	case engine.Line:
		p.printf("[%s] %s\n", label(e), p.sanitizer(e).Line(e.Text))
	case engine.PullFinished:
		p.pulled(e)
	case engine.StepStarted:
		p.printf("[%s] started in %s\n", label(e), e.Image)
	case engine.StepRetried:
		p.printf("[%s] %s\n", label(e), e.Text)
	case engine.StepFinished:
		p.printf("[%s] %s\n", label(e), sentence(e.Result))
	case engine.Warning:
		p.printf("warning: %s%s\n", about(e.Step), e.Text)
	case engine.MatrixFinished:
		p.printf("\n%s\n", e.Text)
	case engine.RunFinished:
		p.printf("\n")
		if p.err == nil {
			p.err = Summary(p.w, e.Summary)
		}
	}
}

// Err is the first error of writing, or nil.
func (p *Plain) Err() error { return p.err }

func (p *Plain) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// sanitizer is that of the stream that a line belongs to.
func (p *Plain) sanitizer(e engine.Event) *logs.Sanitizer {
	of := streamOf{e.Step, e.Cell, e.Stream}
	s := p.streams[of]
	if s == nil {
		s = &logs.Sanitizer{}
		p.streams[of] = s
	}
	return s
}

func (p *Plain) pulled(e engine.Event) {
	if e.Error == "" && time.Duration(e.Duration) >= time.Second {
		p.printf("image %s ready after %s\n", e.Image, short(e.Duration))
	}
}

// label says who speaks.
func label(e engine.Event) string {
	if e.Cell == "" {
		return e.Step
	}
	return e.Step + " (" + e.Cell + ")"
}

func about(step string) string {
	if step == "" {
		return ""
	}
	return step + ": "
}

// sentence says how a step ended.
func sentence(r *engine.StepResult) string {
	text := string(r.Status)
	if r.Status == engine.Failed {
		text += fmt.Sprintf(" with exit code %d", r.ExitCode)
	}
	if !r.Started.IsZero() {
		text += " after " + short(r.Duration)
	}
	if r.Ignored {
		text += ", ignored"
	}
	if r.Status == engine.Skipped && r.Reason != "" {
		text += ": " + r.Reason
	}
	if r.Error != "" {
		text += ": " + r.Error
	}
	return text
}

// short is a duration as people say it.
func short(m engine.Millis) string {
	d := time.Duration(m)
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/morikuni/aec"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// plainTail is how many lines of a failed step are repeated at the end.
const plainTail = 20

// Plain writes events as lines that people read: a step's output behind the
// step's name, and what stepexec does in between. At the end it repeats the last
// lines of steps that failed.
type Plain struct {
	Style Style // set it before the first event

	w      io.Writer
	err    error
	stamps Stamps
	paint  palette
	tails  Tails
	shown  map[streamOf]*shownStream
	last   *shownStream // of the last line
	open   string       // whose line has not ended yet; "" none
	buffer []byte       // of line
}

// streamOf is one of the two streams of a step.
type streamOf struct{ step, cell, stream string }

// shownStream is what all lines of a stream have in common.
type shownStream struct {
	of    streamOf
	label string // painted, with a space behind it
	clean logs.Sanitizer
}

// NewPlain returns a Plain that writes to w, without colours of its own and times.
func NewPlain(w io.Writer) *Plain {
	return &Plain{w: w, tails: Tails{Max: plainTail}, shown: map[streamOf]*shownStream{}}
}

// Event writes one event. After a failed write it writes nothing more.
func (p *Plain) Event(e event.Event) {
	p.stamps.Times, p.paint.on = p.Style.Times, p.Style.Colour
	p.stamps.Event(e)
	p.tails.Event(e)
	switch e.Kind {
	case event.Line:
		p.line(e)
	case event.PullFinished:
		p.pulled(e)
	case event.StepStarted:
		p.say(e, "started in "+logs.Sanitize(e.Image))
	case event.StepKept:
		p.say(e, Clean(e.Text))
	case event.StepRetried:
		p.say(e, p.paint.warn(Clean(e.Text)))
	case event.StepFinished:
		p.say(e, p.paint.ended(e.Result))
	case event.Warning:
		p.printf("%s%s %s%s\n", p.stamps.Of(e), p.paint.warn("warning:"), about(e.Step), Clean(e.Text))
	case event.MatrixFinished:
		p.printf("\n%s\n", Clean(e.Text))
	case event.RunFinished:
		p.printf("\n")
		p.finish(e)
	}
}

// Err is the first error of writing, or nil.
func (p *Plain) Err() error { return p.err }

// printf begins a new line, also where another one is open.
func (p *Plain) printf(format string, args ...any) {
	if p.err != nil {
		return
	}
	if p.open != "" {
		p.open, format = "", "\n"+format
	}
	_, p.err = fmt.Fprintf(p.w, format, args...)
}

func (p *Plain) say(e event.Event, text string) {
	p.printf("%s%s %s\n", p.stamps.Of(e), p.paint.label(Label(e)), text)
}

// line writes a line of a step, or a piece of one. What continues a piece follows it
// directly, unless something else has been written in between.
func (p *Plain) line(e event.Event) {
	if p.err != nil {
		return
	}
	stream := p.stream(e)
	whose := ""
	if p.open != "" || e.Partial {
		whose = e.Stream + " of " + Label(e)
	}
	b := p.buffer[:0]
	if goesOn := p.open != "" && p.open == whose; !goesOn || strings.Contains(e.Text, "\r") {
		b = append(b, p.between(goesOn)...)
		b = append(b, p.stamps.Of(e)...)
		b = append(b, stream.label...)
	}
	b = append(b, stream.clean.Line(e.Text)...)
	if p.open = whose; !e.Partial {
		p.open = ""
		b = append(b, '\n')
	}
	p.buffer = b
	_, p.err = p.w.Write(b)
}

// between is what stands between an open line and what comes next. What a step writes
// over its own line, such as a progress bar, is written over it on a terminal.
func (p *Plain) between(overwrites bool) string {
	switch {
	case p.open == "":
		return ""
	case overwrites && p.Style.Terminal:
		return "\r" + aec.EraseLine(aec.EraseModes.Tail).String()
	}
	return "\n"
}

// stream is the one that a line belongs to, which most often is that of the line before.
func (p *Plain) stream(e event.Event) *shownStream {
	of := streamOf{e.Step, e.Cell, e.Stream}
	if p.last != nil && p.last.of == of {
		return p.last
	}
	if p.last = p.shown[of]; p.last == nil {
		p.last = &shownStream{of: of, label: p.paint.label(Label(e)) + " "}
		p.shown[of] = p.last
	}
	return p.last
}

func (p *Plain) pulled(e event.Event) {
	if e.Error == "" && time.Duration(e.Duration) >= time.Second {
		p.printf("%simage %s ready after %s\n", p.stamps.Of(e), logs.Sanitize(e.Image), Duration(e.Duration))
	}
}

func (p *Plain) finish(e event.Event) {
	if p.err == nil {
		p.err = p.tails.WriteFailures(p.w, e.Cell, e.Summary, p.paint.red)
	}
	if p.err == nil {
		p.err = Summary(p.w, e.Summary)
	}
}

func about(step string) string {
	if step == "" {
		return ""
	}
	return logs.Sanitize(step) + ": "
}

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

// Plain writes events as lines that people read: each line of a step's output after the
// step's name, and in between what stepexec does. At the end it repeats the last
// lines of steps that failed. The lines of services are left out: only those of services
// that failed matter.
type Plain struct {
	Style    Style // to be set before the first event
	Services bool  // write the lines of services as well; to be set before the first event

	// Flaky returns the flaky tests of a run that has ended. nil: they are not looked up.
	Flaky func(*event.Summary) []FlakyTest

	w      io.Writer
	err    error // first error of w
	stamps Stamps
	paint  palette
	tails  Tails
	shown  map[streamOf]*shownStream
	folded map[streamOf]bool // services whose lines are left out; without stream
	last   *shownStream      // stream of the last line
	open   string            // stream whose last line has not ended yet, in words; "": none
	buffer []byte            // reused by line
}

// streamOf is one of the two streams of a step.
type streamOf struct{ step, cell, stream string }

// shownStream is what all lines of a stream have in common.
type shownStream struct {
	of     streamOf
	quoted streamOf
	label  string // name of the step in its colour, and a space
	fold   bool   // the lines are left out
	clean  logs.Sanitizer
}

// NewPlain returns a Plain that writes to w, without colours or times of its own.
func NewPlain(w io.Writer) *Plain {
	return &Plain{w: w, tails: Tails{Max: plainTail}, shown: map[streamOf]*shownStream{}, folded: map[streamOf]bool{}}
}

// Event writes one event. After a failed write it writes nothing more.
func (p *Plain) Event(e event.Event) {
	p.stamps.Times, p.paint.on = p.Style.Times, p.Style.Colour
	if e.Kind == event.Line {
		p.line(&e)
		return
	}
	e = Quoted(e)
	p.stamps.Event(e)
	event.Visit(plainEvents{p}, e)
	p.tails.Event(e) // last: it drops the lines of a step that has ended well
}

// plainEvents is what Plain shows of each kind of event.
type plainEvents struct{ *Plain }

func (p plainEvents) RunStarted(event.Event)   {} // the first step's line follows
func (p plainEvents) PullStarted(event.Event)  {} // PullFinished has a line if the image took long
func (p plainEvents) PullProgress(event.Event) {} // a log would fill with it
func (p plainEvents) Failure(event.Event)      {} // the command line writes it to stderr

func (p plainEvents) Line(e event.Event) { p.line(&e) }

func (p plainEvents) PullFinished(e event.Event) {
	if e.Error == "" && time.Duration(e.Duration) >= time.Second {
		p.printf("%simage %s ready after %s\n", p.stamps.Of(e), logs.Quote(e.Image), Duration(e.Duration))
	}
}

func (p plainEvents) StepRetried(e event.Event) { p.say(e, p.paint.warn(Clean(e.Text))) }
func (p plainEvents) StepKept(e event.Event)    { p.say(e, Clean(e.Text)) }

func (p plainEvents) StepStarted(e event.Event) {
	text := "started in " + logs.Quote(e.Image)
	if e.Service && !p.Services {
		p.folded[streamOf{step: e.Step, cell: e.Cell}] = true
		text += "; its output is shown only if it fails"
	}
	p.say(e, text)
}

// StepFinished also writes the last lines of a service whose failure is ignored. Those of other
// failures are at the end.
func (p plainEvents) StepFinished(e event.Event) {
	p.say(e, p.paint.ended(e.Result))
	if !e.Result.Ignored || !p.folded[streamOf{step: e.Step, cell: e.Cell}] {
		return
	}
	for _, line := range p.tails.Of(e.Cell, e.Step).Lines() {
		p.say(e, logs.Sanitize(line))
	}
}

func (p plainEvents) Warning(e event.Event) {
	p.printf("%s%s %s%s\n", p.stamps.Of(e), p.paint.warn("warning:"), about(e.Step), Clean(e.Text))
}

func (p plainEvents) MatrixFinished(e event.Event) { p.printf("\n%s\n", Clean(e.Text)) }

func (p plainEvents) RunFinished(e event.Event) {
	p.printf("\n")
	if p.err == nil {
		p.err = p.tails.WriteFailures(p.w, e.Cell, e.Summary, p.paint.red)
	}
	if p.err == nil {
		var flaky []FlakyTest
		if p.Flaky != nil {
			flaky = p.Flaky(e.Summary)
		}
		p.err = SummaryWithin(p.w, e.Summary, flaky, terminalWidth(p.w))
	}
}

// Err is the first error of writing, or nil.
func (p *Plain) Err() error { return p.err }

// printf writes text on a line of its own, and ends an open line first.
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

// line writes a line of a step, or a piece of one, and keeps it for the end. The measured reason for pointers, and for
// quoting names once a stream: a step may print millions of lines, and each copy of an event is three times as long
// as most lines.
func (p *Plain) line(e *event.Event) {
	stream := p.stream(e)
	e.Cell, e.Step, e.Stream = stream.quoted.cell, stream.quoted.step, stream.quoted.stream
	if p.err == nil && !stream.fold {
		p.show(e, stream)
	}
	p.tails.line(e)
}

// show writes a line of a step, or a piece of one. The next piece follows on the same line, unless something else was
// written in between.
func (p *Plain) show(e *event.Event, stream *shownStream) {
	whose := ""
	if p.open != "" || e.Partial {
		whose = e.Stream + " of " + Label(*e)
	}
	b := p.buffer[:0]
	if goesOn := p.open != "" && p.open == whose; !goesOn || strings.Contains(e.Text, "\r") {
		b = append(b, p.between(goesOn)...)
		if p.stamps.Times != NoTimes {
			b = append(b, p.stamps.Of(*e)...)
		}
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

// between returns the text between an open line and what comes next. A step that
// overwrites its own line, as a progress bar does, also overwrites it on a terminal.
func (p *Plain) between(overwrites bool) string {
	switch {
	case p.open == "":
		return ""
	case overwrites && p.Style.Terminal:
		return "\r" + aec.EraseLine(aec.EraseModes.Tail).String()
	}
	return "\n"
}

// stream returns the stream of a line, which most often is that of the line before.
func (p *Plain) stream(e *event.Event) *shownStream {
	if p.last != nil && p.last.of.step == e.Step && p.last.of.stream == e.Stream && p.last.of.cell == e.Cell {
		return p.last
	}
	of := streamOf{e.Step, e.Cell, e.Stream}
	if p.last = p.shown[of]; p.last == nil {
		q := Quoted(*e)
		p.last = &shownStream{
			of: of, quoted: streamOf{q.Step, q.Cell, q.Stream},
			label: p.paint.label(Label(q)) + " ", fold: p.folded[streamOf{step: q.Step, cell: q.Cell}],
		}
		p.shown[of] = p.last
	}
	return p.last
}

func about(step string) string {
	if step == "" {
		return ""
	}
	return logs.Quote(step) + ": "
}

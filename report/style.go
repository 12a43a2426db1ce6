package report

import (
	"fmt"
	"time"

	"github.com/morikuni/aec"

	"github.com/stepexec/stepexec/event"
)

// Times selects the times in front of lines.
type Times string

// The times in front of lines.
const (
	NoTimes Times = ""
	Wall    Times = "wall"    // the time of day, local
	Elapsed Times = "elapsed" // seconds since the run began
)

// Style is the look of text.
type Style struct {
	Colour   bool
	Terminal bool // the output is a terminal: "\r" moves the cursor
	Times    Times
}

// Stamps makes the times in front of lines.
type Stamps struct {
	Times Times
	began map[string]time.Time // starts of the runs, by cell
}

// Event takes note of the start of a run.
func (s *Stamps) Event(e event.Event) {
	if e.Kind == event.RunStarted {
		if s.began == nil {
			s.began = map[string]time.Time{}
		}
		s.began[e.Cell] = e.Time
	}
}

// Of returns the time of an event and a space, for the front of a line, or "".
func (s *Stamps) Of(e event.Event) string {
	switch s.Times {
	case Wall:
		return e.Time.Local().Format("15:04:05.000 ")
	case Elapsed:
		var since time.Duration
		if began, ok := s.began[e.Cell]; ok {
			since = e.Time.Sub(began)
		}
		return fmt.Sprintf("%8.3f ", since.Seconds())
	}
	return ""
}

// palette gives every step a colour, but not red and green, which show how something ended.
type palette struct {
	on    bool
	given map[string]aec.ANSI
}

func (p *palette) label(name string) string {
	label := "[" + name + "]"
	if !p.on {
		return label
	}
	if p.given == nil {
		p.given = map[string]aec.ANSI{}
	}
	if _, ok := p.given[name]; !ok {
		colours := []aec.ANSI{aec.CyanF, aec.YellowF, aec.MagentaF, aec.BlueF, aec.LightCyanF, aec.LightYellowF, aec.LightMagentaF, aec.LightBlueF}
		p.given[name] = colours[len(p.given)%len(colours)]
	}
	return p.given[name].Apply(label)
}

func (p *palette) red(text string) string  { return p.paint(aec.RedF, text) }
func (p *palette) dim(text string) string  { return p.paint(aec.Faint, text) }
func (p *palette) warn(text string) string { return p.paint(aec.YellowF, text) }

func (p *palette) paint(colour aec.ANSI, text string) string {
	if !p.on {
		return text
	}
	return colour.Apply(text)
}

// ended describes how a step ended, in the colour of that end.
func (p *palette) ended(r *event.StepResult) string {
	text := Ended(r)
	switch {
	case r.Status == event.Succeeded:
		return p.paint(aec.GreenF, text)
	case IsFailure(r):
		return p.red(text)
	case r.Ignored:
		return p.warn(text)
	}
	return p.dim(text)
}

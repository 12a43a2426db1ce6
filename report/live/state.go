package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/morikuni/aec"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report"
)

// lastLines is the number of lines that are kept of each step.
const lastLines = 20

// state is what is known of a run, or of the runs of a matrix. It is an event.Visitor.
type state struct {
	o       Options
	name    string
	began   time.Time
	steps   int     // number of steps of all runs
	ended   int     // number of steps that have ended
	running []*task // in the order in which they began
	pulls   []*pull
	tails   report.Tails // last lines of each step, for those that fail
	shown   report.Tails // the same with sections folded, for the block and for steps that have ended
	printed []string     // whole lines that are not on the screen yet
	times   report.Stamps
}

// task is a running step or service.
type task struct {
	cell, step, label, image string
	service                  bool
	began                    time.Time
}

// pull is an image that is being fetched.
type pull struct {
	cell, image string
	began       time.Time
	progress    event.Progress
	at          time.Time // time of the progress; zero: none was reported yet
}

func newState(o Options) *state {
	return &state{o: o, tails: report.Tails{Max: lastLines}, shown: report.Tails{Max: lastLines, Fold: true, Keep: true}, times: report.Stamps{Times: o.Style.Times}}
}

func (s *state) event(e event.Event) {
	e = report.Quoted(e)
	s.shown.Event(e)
	s.tails.Event(e)
	s.times.Event(e)
	event.Visit(s, e)
}

func (s *state) RunStarted(e event.Event) {
	s.steps += e.Steps
	if s.began.IsZero() {
		s.began = e.Time
		s.name = logs.Quote(strings.TrimSuffix(e.Name, " ("+e.Cell+")"))
	}
}

func (s *state) Line(event.Event)    {} // the tails have it
func (s *state) Failure(event.Event) {} // the command line writes it to stderr

func (s *state) PullStarted(e event.Event) {
	s.pulls = append(s.pulls, &pull{cell: e.Cell, image: logs.Quote(e.Image), began: e.Time})
}

func (s *state) PullProgress(e event.Event) {
	if i := s.pullOf(e); i >= 0 {
		s.pulls[i].progress, s.pulls[i].at = *e.Progress, e.Time
	}
}

func (s *state) StepStarted(e event.Event) {
	s.forget(e)
	s.running = append(s.running, &task{e.Cell, e.Step, report.Label(e), logs.Quote(e.Image), e.Service, e.Time})
}

func (s *state) StepRetried(e event.Event) {
	s.forget(e)
	s.say(e, s.paint(aec.YellowF, s.mark("↻", "~")), report.Label(e)+" "+report.Clean(e.Text))
}

func (s *state) StepKept(e event.Event) {
	s.say(e, s.paint(aec.CyanF, s.mark("▸", ">")), report.Label(e)+" "+report.Clean(e.Text))
}

func (s *state) Warning(e event.Event) {
	text := report.Clean(e.Text)
	if e.Step != "" {
		text = report.Label(e) + ": " + text
	}
	s.say(e, s.paint(aec.YellowF, "!"), text)
}

func (s *state) MatrixFinished(e event.Event) { s.print("\n" + report.Clean(e.Text)) }

func (s *state) pullOf(e event.Event) int {
	return slices.IndexFunc(s.pulls, func(p *pull) bool { return p.cell == e.Cell && p.image == logs.Quote(e.Image) })
}

func (s *state) PullFinished(e event.Event) {
	i := s.pullOf(e)
	if i < 0 {
		return
	}
	p := s.pulls[i]
	s.pulls = slices.Delete(s.pulls, i, i+1)
	if e.Error == "" && p.progress.Bytes > 0 {
		text := fmt.Sprintf("%s pulled: %s in %s", p.image, size(p.progress.Bytes), report.Duration(e.Duration))
		s.say(e, s.paint(aec.GreenF, s.mark("✔", "+")), text)
	}
}

// forget removes a step from the running ones.
func (s *state) forget(e event.Event) {
	s.running = slices.DeleteFunc(s.running, func(t *task) bool { return t.cell == e.Cell && t.step == e.Step })
}

func (s *state) StepFinished(e event.Event) {
	s.forget(e)
	r := e.Result
	if !r.Service {
		s.ended++
	}
	text := report.Label(e) + " " + report.Ended(r)
	switch {
	case r.Status == event.Succeeded:
		text := report.Label(e) + " " + report.Duration(r.Duration)
		if r.Flaky() {
			text = report.Label(e) + " " + strings.TrimPrefix(report.Ended(r), "succeeded after ")
		}
		s.say(e, s.paint(aec.GreenF, s.mark("✔", "+")), text)
		s.keep(e)
	case report.IsFailure(r):
		s.say(e, s.paint(aec.RedF, s.mark("✘", "x")), s.paint(aec.RedF, text))
	case r.Ignored:
		s.say(e, s.paint(aec.YellowF, "!"), text)
		s.keep(e)
	default:
		s.say(e, "-", s.paint(aec.Faint, text))
		if r.Service {
			s.keep(e)
		}
	}
}

// keep prints the last lines of a step that has ended, which otherwise nobody would have seen: those of a
// short step are all that it printed. What services print matters only when they fail, unless it is asked
// for.
func (s *state) keep(e event.Event) {
	if e.Result.Service && !e.Result.Ignored && !s.o.Services {
		s.shown.Forget(e.Cell, e.Step)
		return
	}
	columns, rows := 80, 24
	if s.o.Size != nil {
		columns, rows = s.o.Size()
	}
	tail := s.shown.Of(e.Cell, e.Step)
	lines := tail.Lines()
	lines = lines[max(0, len(lines)-max(rows-4, 1)):]
	if left := tail.Total - len(lines); left > 0 {
		s.print(indent + s.paint(aec.Faint, fmt.Sprintf("(%d lines before these)", left)))
	}
	for _, line := range lines {
		s.print(fit(indent+logs.Sanitize(line), columns-1))
	}
	s.shown.Forget(e.Cell, e.Step)
}

func (s *state) RunFinished(e event.Event) {
	var text strings.Builder
	text.WriteString("\n")
	red := func(text string) string { return s.paint(aec.RedF, text) }
	_ = s.tails.WriteFailures(&text, e.Cell, e.Summary, red) // a Builder takes everything
	columns := 80
	if s.o.Size != nil {
		columns, _ = s.o.Size()
	}
	var flaky []report.FlakyTest
	if s.o.Flaky != nil {
		flaky = s.o.Flaky(e.Summary)
	}
	_ = report.SummaryWithin(&text, e.Summary, flaky, columns)
	s.print(strings.TrimSuffix(text.String(), "\n"))
}

// say prints a mark and a line about an event.
func (s *state) say(e event.Event, mark, text string) {
	s.print(s.times.Of(e) + mark + " " + text)
}

func (s *state) print(line string) { s.printed = append(s.printed, line+"\n") }

// mark returns the mark, or its replacement on a terminal that shows ASCII only.
func (s *state) mark(mark, ascii string) string {
	if s.o.Plain {
		return ascii
	}
	return mark
}

func (s *state) paint(colour aec.ANSI, text string) string {
	if !s.o.Style.Colour {
		return text
	}
	return colour.Apply(text)
}

// size formats a number of bytes with three digits.
func size(bytes int64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }

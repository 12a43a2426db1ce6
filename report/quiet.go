package report

import (
	"fmt"
	"io"

	"github.com/stepexec/stepexec/event"
)

// Quiet writes nothing about a run that succeeds. About a run that fails it writes why:
// the last lines of the failed steps, how to open a shell in those that were kept, and
// one line for the whole run.
type Quiet struct {
	w      io.Writer
	err    error // first error of w
	failed bool  // some run has failed
	tails  Tails
	kept   map[string]string // texts of kept steps, a line each, by cell
}

// NewQuiet returns a Quiet that writes to w.
func NewQuiet(w io.Writer) *Quiet {
	return &Quiet{w: w, tails: Tails{Max: plainTail}, kept: map[string]string{}}
}

// Event takes note of one event. After a failed write it writes nothing more.
func (q *Quiet) Event(e event.Event) {
	e = Quoted(e)
	q.tails.Event(e)
	if q.err == nil {
		event.Visit(quietEvents{q}, e)
	}
}

// Err is the first error of writing, or nil.
func (q *Quiet) Err() error { return q.err }

// quietEvents is what Quiet shows of each kind of event.
type quietEvents struct{ *Quiet }

// None of these says why a run failed.
func (q quietEvents) RunStarted(event.Event)   {}
func (q quietEvents) PullStarted(event.Event)  {}
func (q quietEvents) PullProgress(event.Event) {}
func (q quietEvents) PullFinished(event.Event) {}
func (q quietEvents) StepStarted(event.Event)  {}
func (q quietEvents) StepRetried(event.Event)  {}
func (q quietEvents) Warning(event.Event)      {}

func (q quietEvents) Line(event.Event)         {} // the tails have it
func (q quietEvents) StepFinished(event.Event) {} // the summary has it
func (q quietEvents) Failure(event.Event)      {} // the command line writes it to stderr

func (q quietEvents) StepKept(e event.Event) {
	q.kept[e.Cell] += Label(e) + " " + Clean(e.Text) + "\n"
}

func (q quietEvents) RunFinished(e event.Event) {
	if e.Summary.Status == event.Succeeded {
		return
	}
	q.failed = true
	if q.err = q.tails.WriteFailures(q.w, e.Cell, e.Summary, func(text string) string { return text }); q.err == nil {
		_, q.err = fmt.Fprintln(q.w, q.kept[e.Cell]+verdict(e.Summary))
	}
}

func (q quietEvents) MatrixFinished(e event.Event) {
	if q.failed {
		_, q.err = fmt.Fprintln(q.w, Clean(e.Text))
	}
}

package report

import (
	"fmt"
	"io"

	"github.com/stepexec/stepexec/event"
)

// Quiet writes nothing about what goes well: of a run that failed why, the last lines
// of the steps that did, and a line for the whole.
type Quiet struct {
	w      io.Writer
	err    error
	failed bool
	tails  Tails
}

// NewQuiet returns a Quiet that writes to w.
func NewQuiet(w io.Writer) *Quiet { return &Quiet{w: w, tails: Tails{Max: plainTail}} }

// Event takes note of one event. After a failed write it writes nothing more.
func (q *Quiet) Event(e event.Event) {
	q.tails.Event(e)
	switch {
	case q.err != nil:
	case e.Kind == event.RunFinished && e.Summary.Status != event.Succeeded:
		q.failed = true
		if q.err = q.tails.WriteFailures(q.w, e.Cell, e.Summary, func(text string) string { return text }); q.err == nil {
			_, q.err = fmt.Fprintln(q.w, verdict(e.Summary))
		}
	case e.Kind == event.MatrixFinished && q.failed:
		_, q.err = fmt.Fprintln(q.w, Clean(e.Text))
	}
}

// Err is the first error of writing, or nil.
func (q *Quiet) Err() error { return q.err }

package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// maxTailLine bounds how much of a line is kept, in bytes.
const maxTailLine = 4 << 10

// Tail keeps the last lines of a step as a terminal would show them: when a step writes over
// a line after a "\r", as a progress bar does, it keeps the last state.
type Tail struct {
	Max   int      // number of lines that are kept
	Fold  bool     // show a section that has ended as one line
	Total int      // number of lines so far
	open  string   // stream of the last line while that line may continue; "": it has ended
	lines []string // the last ones, up to twice as many as are kept

	section string // title of the section that is open; "": none is
	begin   int    // Total at the first line of the section
}

// Add adds a Line event.
func (t *Tail) Add(e event.Event) { t.add(&e) }

func (t *Tail) add(e *event.Event) {
	text := e.Text
	if t.open == e.Stream && t.open != "" {
		text = t.lines[len(t.lines)-1] + text
	} else {
		t.Total++
		if len(t.lines) >= 2*t.Max { // to move them for every line takes a tenth of a display's time
			kept := copy(t.lines, t.lines[len(t.lines)-t.Max+1:])
			clear(t.lines[kept:])
			t.lines = t.lines[:kept]
		}
		t.lines = append(t.lines, "")
	}
	if t.open = ""; e.Partial {
		t.open = e.Stream
	}
	mark, title := NoMark, ""
	if !e.Partial {
		mark, title = SectionMark(text)
	}
	if mark == NoMark {
		t.lines[len(t.lines)-1] = shortened(overwritten(text, e.Partial))
		return
	}
	t.mark(mark, title)
}

// mark takes note of a mark of a section, which is the last line, and is itself not shown.
func (t *Tail) mark(mark Mark, title string) {
	t.lines = t.lines[:len(t.lines)-1]
	t.Total--
	switch {
	case mark == SectionBegin:
		t.section, t.begin = cmp.Or(title, "section"), t.Total
		if !t.Fold {
			t.lines, t.Total = append(t.lines, "▾ "+t.section), t.Total+1
		}
	case t.section != "":
		if inside := t.Total - t.begin; t.Fold {
			t.lines = append(t.lines[:max(0, len(t.lines)-inside)], fmt.Sprintf("▸ %s (%s)", t.section, plural(inside, "line")))
			t.Total = t.begin + 1
		}
		t.section = ""
	}
}

// Lines returns the last lines, with their control characters.
func (t *Tail) Lines() []string { return t.lines[max(0, len(t.lines)-t.Max):] }

// overwritten returns what a terminal shows of a line in the end, provided that no state of
// the line is shorter than the one before. The end of a line that goes on is kept: what comes
// next may overwrite the line.
func overwritten(line string, goesOn bool) string {
	if strings.IndexByte(line, '\r') < 0 { // the usual case; it takes a twentieth of the time of the rest
		return line
	}
	text := strings.TrimRight(line, "\r")
	text = text[strings.LastIndexByte(text, '\r')+1:]
	if goesOn && line[len(line)-1] == '\r' {
		text += "\r"
	}
	return text
}

func shortened(line string) string {
	if len(line) <= maxTailLine {
		return line
	}
	return strings.ToValidUTF8(line[:maxTailLine], "") + "…"
}

// Tails keeps the last lines of all steps of a run.
type Tails struct {
	Max   int              // number of lines that are kept of a step
	Fold  bool             // show a section that has ended as one line
	Keep  bool             // keep the lines of steps that did not fail until Forget
	tails map[string]*Tail // by label
	last  lastTail
}

// lastTail is the step of the last line, which most often is that of the next one, too.
type lastTail struct {
	cell, step string
	tail       *Tail // nil: there was no line since a step began or ended
}

// Event takes note of an event.
func (t *Tails) Event(e event.Event) {
	switch e.Kind {
	case event.StepStarted: // also of a further attempt
		t.last.tail = nil
		if t.tails == nil {
			t.tails = map[string]*Tail{}
		}
		t.tails[Label(e)] = &Tail{Max: t.Max, Fold: t.Fold}
	case event.Line:
		t.line(&e)
	case event.StepFinished:
		t.last.tail = nil
		if e.Result != nil && !IsFailure(e.Result) && !t.Keep {
			delete(t.tails, Label(e))
		}
	}
}

// line is Event for a line.
func (t *Tails) line(e *event.Event) {
	if t.last.tail == nil || t.last.step != e.Step || t.last.cell != e.Cell {
		t.last = lastTail{e.Cell, e.Step, t.tails[Label(*e)]}
	}
	if t.last.tail != nil {
		t.last.tail.add(e)
	}
}

// Forget drops the lines of a step in the run of a cell.
func (t *Tails) Forget(cell, step string) {
	t.last.tail = nil
	delete(t.tails, Label(event.Event{Cell: cell, Step: step}))
}

// Of returns the last lines of a step in the run of a cell; they may be empty.
func (t *Tails) Of(cell, step string) *Tail {
	if tail := t.tails[Label(event.Event{Cell: cell, Step: step})]; tail != nil {
		return tail
	}
	return &Tail{}
}

// mostFailures bounds the failed steps that are described at the end; the summary has all.
const mostFailures = 5

// WriteFailures writes why steps failed and the last lines of each. It marks those lines, so
// that nobody takes them for new output.
func (t *Tails) WriteFailures(w io.Writer, cell string, s *event.Summary, mark func(string) string) error {
	var text strings.Builder
	told := 0
	for i := range s.Steps {
		r := &s.Steps[i]
		if !IsFailure(r) {
			continue
		}
		if told++; told > mostFailures {
			fmt.Fprint(&text, "more steps failed: see the table\n\n")
			break
		}
		t.writeFailure(&text, cell, r, mark)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (t *Tails) writeFailure(w *strings.Builder, cell string, r *event.StepResult, mark func(string) string) {
	tail := t.Of(cell, r.Step)
	if where := Where(r); where != "" {
		fmt.Fprint(w, mark(where+": "))
	}
	fmt.Fprint(w, mark(Verdict(r)))
	if r.NotReady { // the verdict has the last lines already
		fmt.Fprint(w, "\n\n")
		return
	}
	lines := tail.Lines()
	switch n := len(lines); {
	case n == 0 && !r.Started.IsZero():
		fmt.Fprint(w, "; ", logs.Sanitize(r.WithoutLines()))
	case n > 0 && n < tail.Total:
		fmt.Fprintf(w, "; the last %d of its %d lines:", n, tail.Total)
	case n > 0:
		fmt.Fprint(w, "; what it printed:")
	}
	fmt.Fprintln(w)
	for _, line := range lines {
		fmt.Fprintf(w, "%s %s\n", mark(logs.Quote(r.Step)+" |"), logs.Sanitize(line))
	}
	fmt.Fprintln(w)
}

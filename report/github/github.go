package github

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report"
)

// Options are the settings of a Log.
type Options struct {
	Env          func(string) string // GITHUB_WORKSPACE, GITHUB_OUTPUT, GITHUB_STEP_SUMMARY
	StepCommands bool                // obey commands for the runner in what steps print
	Times        report.Times
	Report       string // path of the report, for the output named report

	// Past adds the earlier runs of its pipelines to the report of the summary page; nil: it has none.
	Past func(*report.Report)

	// LogDir returns the folder of a run's record, for the output log-dir; nil: no record is written.
	LogDir func(run string) string
}

// summaryLogs bounds the steps' logs that are kept for the summary page, in compressed bytes.
const summaryLogs = 8 << 20

// Log writes events as the log of a job's step. When several steps run at the same time,
// it shows one of them as it runs, and each of the others as a whole once it has ended.
type Log struct {
	o         Options
	w         io.Writer
	err       error
	began     time.Time
	stopped   string         // token that makes the runner obey commands again; "": it obeys
	shown     *group         // the open group; nil: none
	groups    []*group       // steps that run, in the order of their start
	ended     []*group       // steps that ended while another group was open, in that order
	later     []func()       // writes what must not stand in a group
	counts    map[string]int // number of annotations by kind
	stamps    report.Stamps
	collector *report.Collector
	result    result
}

// group is the output of one step.
type group struct {
	label, name, title string // such as build, step build, step build (alpine)
	service            bool
	streams            map[string]*logs.Sanitizer
	open               map[string]bool // streams whose last line has not ended yet
	waiting            spool
	sections           []section // what waiting is made of
	closed             bool      // the group is shown, and a section of it has ended: more output needs a group again
}

// New returns a Log that writes to w.
func New(w io.Writer, o Options) *Log {
	return &Log{
		o: o, w: w, began: time.Now(), counts: map[string]int{},
		stamps: report.Stamps{Times: o.Times}, collector: report.NewCollector(summaryLogs),
	}
}

// Hide makes the runner mask secrets too, whoever prints them. It must be called before
// the first event.
func (l *Log) Hide(secrets []string) {
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			if line = strings.Trim(line, "\r\n"); len(line) > 1 {
				l.do(command{name: "add-mask", message: line})
			}
		}
	}
}

// Event writes one event. After a failed write it writes nothing more.
func (l *Log) Event(e event.Event) {
	e = report.Quoted(e)
	l.stamps.Event(e)
	l.collector.Event(e)
	l.result.event(e)
	event.Visit(logEvents{l}, e)
}

// logEvents is what Log shows of each kind of event.
type logEvents struct{ *Log }

func (l logEvents) RunStarted(event.Event)   {} // the first group follows
func (l logEvents) PullStarted(event.Event)  {} // steps say how long they waited for images
func (l logEvents) PullProgress(event.Event) {} // a log would fill with it
func (l logEvents) PullFinished(event.Event) {} // steps say how long they waited for images

func (l logEvents) StepStarted(e event.Event)  { l.started(e) }
func (l logEvents) Line(e event.Event)         { l.line(e) }
func (l logEvents) StepRetried(e event.Event)  { l.in(e, report.Clean(e.Text)+"\n") }
func (l logEvents) StepFinished(e event.Event) { l.finished(e) }

// StepKept comes after the step's group has ended.
func (l logEvents) StepKept(e event.Event) {
	l.outside(func() { l.print(report.Label(e) + ": " + report.Clean(e.Text) + "\n") })
}

func (l logEvents) Warning(e event.Event) {
	title := ""
	if e.Step != "" {
		title = "step " + report.Label(e)
	}
	l.outside(func() { l.annotate("warning", "", 0, 0, title, e.Text) })
}

func (l logEvents) Failure(e event.Event) {
	l.outside(func() { l.annotate("error", e.File, e.Line, e.Column, "stepexec", e.Error) })
}

func (l logEvents) MatrixFinished(e event.Event) {
	l.outside(func() { l.print(report.Clean(e.Text) + "\n") })
}

func (l logEvents) RunFinished(e event.Event) {
	l.outside(func() {
		var text strings.Builder
		_ = report.Summary(&text, e.Summary) // a Builder takes everything
		l.print(text.String())
	})
}

// End writes the remaining groups, the summary page and the outputs of the job's step.
func (l *Log) End(exitCode int) error {
	l.closeShown()
	for _, g := range l.groups { // of a run that was ended before its steps
		l.whole(g)
	}
	made := l.collector.Report()
	if l.o.Past != nil {
		l.o.Past(made)
	}
	l.annotateFlaky(made)
	l.obey()
	if l.err == nil {
		l.err = l.writeSummary(made)
	}
	if l.err == nil {
		l.err = l.writeOutputs(exitCode)
	}
	return l.err
}

func (l *Log) started(e event.Event) {
	if l.group(e) != nil {
		return // a further attempt
	}
	g := &group{label: report.Label(e), service: e.Service, streams: map[string]*logs.Sanitizer{}, open: map[string]bool{}}
	g.name = "step " + g.label
	if e.Service {
		g.name = "service " + g.label
	}
	g.title = g.name + " (" + logs.Quote(e.Image) + ")"
	l.groups = append(l.groups, g)
	l.showNext()
}

func (l *Log) group(e event.Event) *group {
	label := report.Label(e)
	if i := slices.IndexFunc(l.groups, func(g *group) bool { return g.label == label }); i >= 0 {
		return l.groups[i]
	}
	return nil
}

// showNext opens the group of the step that has run longest, if no group is open. A
// service is shown once it has ended.
func (l *Log) showNext() {
	i := slices.IndexFunc(l.groups, func(g *group) bool { return !g.service })
	if l.shown != nil || i < 0 {
		return
	}
	l.shown = l.groups[i]
	l.do(command{name: "group", message: l.shown.title})
	l.drain(l.shown)
}

func (l *Log) line(e event.Event) {
	g := l.group(e)
	if g == nil {
		return
	}
	whole := !e.Partial && !g.open[e.Stream]
	g.open[e.Stream] = e.Partial
	if whole && l.mark(g, e.Text) {
		return
	}
	clean := g.streams[e.Stream]
	if clean == nil {
		clean = &logs.Sanitizer{}
		g.streams[e.Stream] = clean
	}
	// A piece of a line is a line of its own: what follows could begin with a command.
	l.in(e, l.stamps.Of(e)+clean.Line(e.Text)+"\n")
}

// in writes text into the group of a step.
func (l *Log) in(e event.Event, text string) {
	switch g := l.group(e); {
	case g == nil:
		l.outside(func() { l.print(report.Label(e) + ": " + text) })
	case g == l.shown:
		l.goOn(g)
		l.print(text)
	case l.err == nil:
		_, l.err = g.waiting.Write([]byte(text))
	}
}

func (l *Log) finished(e event.Event) {
	l.in(e, report.Ended(e.Result)+"\n")
	g := l.group(e)
	l.outside(func() {
		l.annotateStep(e, g)
		l.annotateTests(e)
	})
	switch {
	case g == nil:
		return
	case l.shown == nil:
		l.whole(g)
	case g != l.shown:
		l.ended = append(l.ended, g)
	}
	l.groups = slices.DeleteFunc(l.groups, func(other *group) bool { return other == g })
	if g == l.shown {
		l.closeShown()
		l.showNext()
	}
}

// closeShown closes the open group and writes what waited for that.
func (l *Log) closeShown() {
	if l.shown == nil {
		return
	}
	shown := l.shown
	l.endGroup(shown)
	l.shown = nil
	l.groups = slices.DeleteFunc(l.groups, func(g *group) bool { return g == shown })
	for _, g := range l.ended {
		l.whole(g)
	}
	l.ended = nil
	for _, write := range l.later {
		write()
	}
	l.later = nil
}

// whole writes a group at once.
func (l *Log) whole(g *group) {
	l.do(command{name: "group", message: g.title})
	l.drain(g)
	l.endGroup(g)
}

// outside writes what does not belong in a group, as soon as no group is open.
func (l *Log) outside(write func()) {
	if l.shown == nil {
		write()
		return
	}
	l.later = append(l.later, write)
}

// do writes a command that the runner obeys.
func (l *Log) do(c command) {
	l.obey()
	l.write(c.String() + "\n")
}

// print writes text that the runner must not obey, whatever is in it. Otherwise a step that
// prints ::set-env or ::add-mask could command the job.
func (l *Log) print(text string) {
	l.disobey()
	l.write(text)
}

func (l *Log) obey() {
	if l.stopped != "" {
		l.write("::" + l.stopped + "::\n")
		l.stopped = ""
	}
}

func (l *Log) disobey() {
	if l.stopped == "" && !l.o.StepCommands {
		stopped := token()
		l.write(command{name: "stop-commands", message: stopped}.String() + "\n")
		l.stopped = stopped
	}
}

func (l *Log) write(text string) {
	if l.err == nil {
		_, l.err = io.WriteString(l.w, text)
	}
}

// annotateStep annotates the step's line in the pipeline file if the step failed. The message leads
// to the group with its output; g is nil: it has none.
func (l *Log) annotateStep(e event.Event, g *group) {
	kind := "error"
	switch r := e.Result; {
	case r.Ignored:
		kind = "warning"
	case r.Flaky():
		l.annotate("notice", r.File, r.Line, 0, "step "+report.Label(e), "step "+report.Label(e)+" "+report.Ended(r))
		return
	case !report.IsFailure(r):
		return
	}
	message := report.Verdict(e.Result)
	if g != nil {
		message += " (its output is in the group “" + g.title + "” of the log)"
	}
	l.annotate(kind, e.Result.File, e.Result.Line, 0, "step "+report.Label(e), message)
}

// annotateTests annotates the places of failed tests: as errors if the step failed, too, and otherwise as warnings.
func (l *Log) annotateTests(e event.Event) {
	kind := "warning"
	if report.IsFailure(e.Result) {
		kind = "error"
	}
	report.TestFailures(e.Result, func(f *event.TestFailure, text string) {
		l.annotate(kind, f.File, f.Line, 0, "test "+f.Title(), text)
	})
}

// annotateFlaky annotates the tests that are flaky over the last runs.
func (l *Log) annotateFlaky(made *report.Report) {
	for _, run := range made.Runs {
		run.FlakyFound(func(step, title, words string, failure *event.TestFailure) {
			file, line := "", 0
			if failure != nil {
				file, line = failure.File, failure.Line
			}
			if len(made.Runs) > 1 {
				step += " of " + run.Name
			}
			l.annotate("notice", file, line, 0, "test "+title, words+" (step "+step+")")
		})
	}
}

func (l *Log) annotate(kind, file string, line, column int, title, message string) {
	if l.counts[kind]++; l.counts[kind] > mostAnnotations {
		l.print(title + ": " + report.Clean(message) + "\n")
		return
	}
	l.do(command{name: kind, message: report.Clean(message), properties: []string{
		"file", l.inRepository(file), "line", number(line), "col", number(column), "title", title,
	}})
}

// inRepository returns a path relative to the top of the repository, as GitHub shows it.
func (l *Log) inRepository(file string) string {
	top := l.o.Env("GITHUB_WORKSPACE")
	abs, err := filepath.Abs(file)
	if file == "" || top == "" || err != nil {
		return file
	}
	if inside, err := filepath.Rel(top, abs); err == nil && filepath.IsLocal(inside) {
		return inside
	}
	return file
}

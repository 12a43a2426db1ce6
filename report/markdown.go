package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

// Bounds of a Markdown report: the number of failed steps whose last lines it repeats, the
// lines of each, and the bytes of a line. Hosts of code show no more than 1 MB of Markdown.
const (
	markdownSteps     = 20
	markdownLines     = 50
	markdownLineBytes = 500
)

// WriteMarkdown writes a report as GitHub flavoured Markdown: a table of the steps, and the
// last lines of the failed ones. Names and output of steps are only text in it: never markup,
// a link or a mention.
func WriteMarkdown(w io.Writer, r *Report) error {
	m := &markdown{Writer: bufio.NewWriter(w)}
	for _, run := range r.Runs {
		m.run(run)
	}
	if r.Error != "" {
		m.print("**stepexec:** ", escape(r.Error), "\n")
	}
	if m.err == nil {
		m.err = m.Flush()
	}
	if m.err != nil {
		return fmt.Errorf("write the report: %w", m.err)
	}
	return nil
}

type markdown struct {
	*bufio.Writer
	repeated int // number of steps whose lines were repeated
	err      error
}

func (m *markdown) print(texts ...string) {
	for _, text := range texts {
		_, _ = m.WriteString(text) // Flush returns the error
	}
}

func (m *markdown) run(r *Run) {
	m.print("## ", escape(r.Name), ": ", escape(r.verdict()), "\n\n")
	if about := aboutBuild(r.Build); about != "" {
		m.print(escape(about), "\n\n")
	}
	m.print("| Step | Status | Exit | Queue | Pull | Start | Run | CPU | Memory | Image |\n")
	m.print("|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, s := range r.Steps {
		m.row(s)
	}
	m.print("\n")
	m.compared(r)
	for _, s := range r.Steps {
		if s.isBad() || s.Status == event.Failed || s.Error != "" {
			m.failure(s)
		}
	}
	m.tests(r)
	m.kept(r)
	m.artifacts(r)
	m.caches(r)
	if len(r.Warnings) > 0 {
		m.print("Warnings:\n\n")
		for _, text := range r.Warnings[:min(len(r.Warnings), markdownSteps)] {
			m.print("- ", escape(cut(text, markdownLineBytes)), "\n")
		}
		m.print("\n")
	}
}

// compared lists what differs from the last run.
func (m *markdown) compared(r *Run) {
	if r.Compared == nil {
		return
	}
	lines := r.Compared.lines()
	for _, line := range lines {
		m.print("- ", line.Title, " since the last run: ", escape(line.Steps), "\n")
	}
	if len(lines) > 0 {
		m.print("\n")
	}
}

// kept lists the kept steps with the commands that open a shell in them.
func (m *markdown) kept(r *Run) {
	var kept []*StepReport
	for _, s := range r.Steps {
		if s.Kept != "" {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		return
	}
	m.print("Kept steps:\n\n")
	for _, s := range kept[:min(len(kept), markdownSteps)] {
		m.print("- ", escape(s.Step), ": ", escape(cut(s.Kept, markdownLineBytes)), "\n")
	}
	m.print("\n")
}

// tests lists how the tests of the steps have ended.
func (m *markdown) tests(r *Run) {
	for _, s := range r.Steps {
		if s.Tests == nil {
			continue
		}
		m.print("Tests of ", escape(s.Step), ": ", escape(testsLine(s.Tests)), "\n\n")
		TestFailures(&s.StepResult, func(f *event.TestFailure, text string) {
			m.print("- **", escape(f.Title()), "**")
			if place := testPlace(f); place != "" {
				m.print(" (", escape(place), ")")
			}
			first, rest, _ := strings.Cut(text, "\n")
			m.print(": ", escape(cut(first, markdownLineBytes)), "\n")
			m.moreOfTest(rest)
		})
		if more := s.Tests.Failed - min(len(s.Tests.Failures), summaryTests); more > 0 {
			m.print(fmt.Sprintf("- and %d more\n", more))
		}
		if slowest := slowestTests(s.Tests); slowest != "" {
			m.print("- slowest: ", escape(slowest), "\n")
		}
		for _, flaky := range flakyLines(r.Flaky, s.Step) {
			m.print("- flaky over the last runs: ", escape(cut(flaky, markdownLineBytes)), "\n")
		}
		for _, problem := range s.Tests.Problems {
			m.print("- not read: ", escape(cut(problem, markdownLineBytes)), "\n")
		}
		m.print("\n")
	}
}

// moreOfTest shows what follows the first line of a failed test's text, within its item of the list.
func (m *markdown) moreOfTest(text string) {
	if text == "" {
		return
	}
	var lines strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		lines.WriteString("  " + cut(plain(line), markdownLineBytes) + "\n")
	}
	fence := fenceOf(lines.String())
	m.print("\n  ", fence, "text\n", lines.String(), "  ", fence, "\n")
}

// artifacts lists what was collected.
func (m *markdown) artifacts(r *Run) {
	var lines []string
	for _, s := range r.Steps {
		for i := range s.Artifacts {
			lines = append(lines, escape(artifactLine(&s.Artifacts[i])))
		}
	}
	m.list("Artifacts", lines)
}

// caches lists what steps got of keyed caches.
func (m *markdown) caches(r *Run) {
	var lines []string
	for _, s := range r.Steps {
		for i := range s.Caches {
			lines = append(lines, escape(s.Caches[i].Name)+" of "+escape(s.Step)+": "+escape(cacheLine(&s.Caches[i])))
		}
	}
	m.list("Caches", lines)
}

// list prints a list under a title, or nothing if it has no lines.
func (m *markdown) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	m.print(title, ":\n\n")
	for _, line := range lines[:min(len(lines), markdownSteps)] {
		m.print("- ", line, "\n")
	}
	if more := len(lines) - markdownSteps; more > 0 {
		m.print(fmt.Sprintf("- and %d more\n", more))
	}
	m.print("\n")
}

func (m *markdown) row(s *StepReport) {
	name := escape(s.Step)
	if s.isBad() {
		name = "**" + name + "**"
	}
	if s.Service {
		name += " (service)"
	}
	state := escape(status(&s.StepResult))
	if icon := icons[s.Status]; icon != "" {
		state = icon + " " + state
	}
	cpu, peak := "-", "-"
	if s.Usage != nil {
		cpu, peak = Duration(s.Usage.User+s.Usage.System), memory(s.Usage.PeakMemory)
	}
	image := escape(s.Image)
	if s.Digest != "" {
		image += " " + escape(shortDigest(s.Digest))
	}
	m.print("| ", strings.Join([]string{name, state, exitCode(&s.StepResult), took(s, s.Queue), took(s, s.Pull),
		took(s, s.Create+s.Start), took(s, s.Duration-s.Start), cpu, peak, image}, " | "), " |\n")
}

var icons = map[event.Status]string{
	event.Succeeded: "✅", event.Failed: "❌", event.TimedOut: "⏱️", event.Cancelled: "🚫", Died: "💀",
}

func took(s *StepReport, m event.Millis) string {
	if s.Started.IsZero() {
		return "-"
	}
	return Duration(m)
}

// failure writes why a step failed, and its last lines.
func (m *markdown) failure(s *StepReport) {
	m.print("**", escape(s.Step), "** ", escape(Ended(&s.StepResult)))
	if where := Where(&s.StepResult); where != "" {
		m.print(" (", escape(where), ")")
	}
	m.print("\n\n")
	if m.repeated++; m.repeated > markdownSteps {
		return
	}
	lines, err := s.Log.Tail(markdownLines)
	if err != nil {
		m.err = err
		return
	}
	if len(lines) == 0 {
		return
	}
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(cut(line.String(), markdownLineBytes) + "\n")
	}
	fence := fenceOf(text.String())
	m.print("<details><summary>its last ", plural(len(lines), "line"), " of ", strconv.Itoa(s.Log.Lines), "</summary>\n\n")
	m.print(fence, "text\n", text.String(), fence, "\n\n</details>\n\n")
}

// String returns the line as text.
func (l Line) String() string {
	if l.Missing > 0 {
		return fmt.Sprintf("[%s missing here: the report's limit for logs]", plural(l.Missing, "line"))
	}
	return plain(l.Text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// fenceOf is what stands around a text that Markdown must show as it is.
func fenceOf(text string) string { return strings.Repeat("`", max(3, longestRun(text, '`')+1)) }

// longestRun is the length of the longest run of a character.
func longestRun(text string, c byte) (longest int) {
	run := 0
	for i := range len(text) {
		if text[i] != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// escape makes a text mean nothing in Markdown: a character that could begin markup, HTML, a
// link, a mention or an emoji becomes a character reference, which never does.
func escape(text string) string {
	var b strings.Builder
	for _, r := range plain(text) {
		switch {
		case r == '@':
			b.WriteString("&#64;\u200b") // hosts look for mentions after they have resolved the references
		case r == '\t':
			b.WriteByte(' ')
		case r >= 0x80 || r == ' ' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || slices.Contains([]rune("-,()/="), r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// verdict describes how the run ended.
func (r *Run) verdict() string {
	text := string(r.Status)
	if r.Status != event.Succeeded && r.Status != event.Running {
		text += fmt.Sprintf(" with exit code %d", r.ExitCode)
	}
	if r.Finished {
		text += " after " + Duration(r.Duration)
	}
	if r.Error != "" {
		text += ": " + r.Error
	}
	return text
}

// FromSummary makes the report of a run of which only the summary is known.
func FromSummary(s *event.Summary, at time.Time) *Report {
	c := NewCollector(0)
	c.Event(event.Event{Kind: event.RunStarted, Time: at.Add(-time.Duration(s.Duration)), Run: s.Run, Name: s.Name})
	c.Event(event.Event{Kind: event.RunFinished, Time: at, Summary: s})
	return c.Report()
}

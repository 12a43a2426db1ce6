package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

// A JUnit report has only the first and the last lines of each step: CI servers keep it in
// memory, and GitLab reads no more than 30 MB.
const (
	junitHead      = 100
	junitTail      = 200
	junitLineBytes = 2000
)

type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	Name    string   `xml:"name,attr,omitempty"`
	junitTotals
	Suites []junitSuite `xml:"testsuite"`
}

// junitTotals are the counts of all suites. The schema of Jenkins' plugin (junit-10.xsd) has no skipped
// attribute there, only in a suite.
type junitTotals struct {
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Time     string `xml:"time,attr"`
}

type junitCounts struct {
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Skipped  int    `xml:"skipped,attr"`
	Time     string `xml:"time,attr"`
}

type junitSuite struct {
	Name string `xml:"name,attr"`
	junitCounts
	Timestamp string      `xml:"timestamp,attr,omitempty"` // UTC, without a zone, as the schema of Jenkins' plugin says
	Cases     []junitCase `xml:"testcase"`
	SystemErr string      `xml:"system-err,omitempty"` // kept steps and warnings
}

type junitCase struct {
	Name      string       `xml:"name,attr"`
	Class     string       `xml:"classname,attr"`
	Time      string       `xml:"time,attr"`
	Failure   *junitResult `xml:"failure"`
	Flaky     []junitFlaky `xml:"flakyFailure"` // attempts that failed before one succeeded, or failures of earlier runs
	Skipped   *junitResult `xml:"skipped"`
	Error     *junitResult `xml:"error"`
	SystemOut string       `xml:"system-out,omitempty"`
}

type junitFlaky struct {
	Message string `xml:"message,attr,omitempty"`
	Type    string `xml:"type,attr"`
	Trace   string `xml:"stackTrace"`
}

type junitResult struct {
	Message string `xml:"message,attr,omitempty"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a report as JUnit XML, as Jenkins and GitLab read it: a test suite for
// each run and a test case for each step. A failure is the step's own; an error means that
// stepexec could not run the step, or ended it.
func WriteJUnit(w io.Writer, r *Report) error {
	all := junitSuites{}
	var took time.Duration
	for _, run := range r.Runs {
		suite, err := junitRun(run)
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		all.Suites = append(all.Suites, suite)
		took += time.Duration(run.Duration)
	}
	if r.Error != "" || len(r.Runs) == 0 {
		all.Suites = append(all.Suites, junitOfError(r.Error))
	}
	for _, s := range all.Suites {
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
	}
	all.Time = seconds(event.Millis(took))
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitRun(run *Run) (junitSuite, error) {
	suite := junitSuite{Name: plain(run.Name)}
	suite.Time = seconds(run.Duration)
	if !run.Started.IsZero() {
		suite.Timestamp = run.Started.UTC().Format("2006-01-02T15:04:05")
	}
	for _, s := range run.Steps {
		test, err := junitStep(run, s)
		if err != nil {
			return suite, err
		}
		suite.add(test)
		suite.addTests(run, s)
	}
	for _, s := range run.Steps {
		if s.Kept != "" {
			suite.SystemErr += "step " + plain(s.Step) + " was kept: " + plain(s.Kept) + "\n"
		}
	}
	for _, text := range run.Warnings {
		suite.SystemErr += "warning: " + plain(text) + "\n"
	}
	if run.Error != "" && suite.Failures+suite.Errors == 0 {
		suite.add(junitCase{Name: "stepexec", Class: suite.Name, Time: "0.000", Error: &junitResult{Message: plain(run.Error), Type: string(run.Status)}})
	}
	return suite, nil
}

// junitOfError is a suite for a run that failed before it had steps.
func junitOfError(text string) junitSuite {
	suite := junitSuite{Name: "stepexec"}
	suite.Time = "0.000"
	suite.add(junitCase{Name: "stepexec", Class: "stepexec", Time: "0.000", Error: &junitResult{Message: plain(text), Type: "error"}})
	return suite
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

// addTests adds the failed tests of a step's test reports. If they have not failed the step they are skipped, as
// everything that must not turn a build red.
func (s *junitSuite) addTests(run *Run, step *StepReport) {
	if step.Tests == nil {
		return
	}
	for i := range step.Tests.Failures {
		f := &step.Tests.Failures[i]
		message, text := plain(f.Message), ""
		if place := testPlace(f); place != "" {
			text = plain(place) + "\n"
		}
		for _, line := range testText(f, junitTail) {
			text += plain(line) + "\n"
		}
		if flaky := run.flaky(step.Step, f.Suite, f.Name); flaky != nil {
			text += plain(flakyTitle+flaky.words()) + "\n"
		}
		c := junitCase{Name: plain(f.Title()), Class: plain(run.Name + "." + step.Step), Time: seconds(f.Duration)}
		if IsFailure(&step.StepResult) {
			c.Failure = &junitResult{Message: message, Type: "test", Text: text}
		} else {
			c.Skipped = &junitResult{Message: "failed, and did not fail the step: " + message, Text: text}
		}
		s.add(c)
	}
	s.addFlaky(run, step)
}

// addFlaky adds the tests that have not failed now and are flaky over the last runs, as Surefire writes those that
// failed at first.
func (s *junitSuite) addFlaky(run *Run, step *StepReport) {
	if _, told := testedRunOf(&step.StepResult, ""); !told {
		return // some of them may have failed
	}
	for i := range run.Flaky {
		t := &run.Flaky[i]
		if t.Step != step.Step || step.failureOf(t) != nil {
			continue
		}
		words := plain(flakyTitle + t.words())
		s.add(junitCase{
			Name: plain(t.title()), Class: plain(run.Name + "." + step.Step), Time: "0.000",
			Flaky: []junitFlaky{{Message: words, Type: "flaky", Trace: words}},
		})
	}
}

func junitStep(run *Run, s *StepReport) (junitCase, error) {
	c := junitCase{Name: plain(s.Step), Class: plain(run.Name), Time: seconds(s.Duration)}
	result := &junitResult{Message: plain(Ended(&s.StepResult)), Type: string(s.Status)}
	switch s.Status {
	case event.Succeeded, event.Stopped:
		c.Flaky = junitAttempts(s)
	case event.Skipped, event.Pending:
		c.Skipped = result
	case event.Failed:
		result.Type = failureType(&s.StepResult)
		switch {
		case s.Ignored:
			c.Skipped = result // a failure that is allowed must not turn the build red
		case !stepexecsOwn(&s.StepResult):
			c.Failure = result
		default:
			c.Error = result
		}
	case event.TimedOut:
		if s.Ignored {
			c.Skipped = result
		} else {
			c.Failure = result
		}
	case event.Cancelled:
		if s.Started.IsZero() {
			c.Skipped = result
		} else {
			c.Error = result
		}
	default: // running, died
		c.Error = result
	}
	if c.Skipped != nil {
		result.Type = "" // Surefire's schema has none there
	}
	var err error
	if c.SystemOut, err = junitOutput(s.Log); err != nil {
		return c, err
	}
	if c.Failure != nil || c.Error != nil {
		if result.Text, err = s.Log.tailText(markdownLines, junitLineBytes); err != nil {
			return c, err
		}
		if where := Where(&s.StepResult); where != "" {
			result.Text = plain(where) + ": " + plain(Verdict(&s.StepResult)) + "\n" + result.Text
		}
	}
	return c, nil
}

// junitAttempts are the attempts at a step that failed before one succeeded.
func junitAttempts(s *StepReport) (failed []junitFlaky) {
	if !s.Flaky() {
		return nil
	}
	for _, a := range s.Attempts[:len(s.Attempts)-1] {
		r := event.StepResult{Status: a.Status, ExitCode: a.ExitCode, OOM: a.OOM, Error: a.Error, Started: a.Started, Duration: a.Duration}
		words := plain(Ended(&r))
		failed = append(failed, junitFlaky{Message: words, Type: failureType(&r), Trace: words})
	}
	return failed
}

func failureType(r *event.StepResult) string {
	switch {
	case r.OOM:
		return "out of memory"
	case !stepexecsOwn(r):
		return "exit code " + strconv.Itoa(r.ExitCode)
	}
	return "stepexec"
}

// junitOutput returns the first and the last lines of a log.
func junitOutput(l *Log) (string, error) {
	if l.Lines <= junitHead+junitTail {
		return l.tailText(junitHead+junitTail, junitLineBytes)
	}
	head, err := l.head(junitHead)
	if err != nil {
		return "", err
	}
	tail, err := l.tailText(junitTail, junitLineBytes)
	left := l.Lines - junitHead - junitTail
	return textOf(head, junitLineBytes) + fmt.Sprintf("[%s left out here]\n", plural(left, "line")) + tail, err
}

// head returns up to most of the first lines of a log.
func (l *Log) head(most int) ([]Line, error) {
	var head []Line
	for _, p := range l.pieces {
		if len(head) >= most || p.data == nil {
			break
		}
		lines, err := p.read()
		if err != nil {
			return nil, err
		}
		head = append(head, lines...)
	}
	return head[:min(most, len(head))], nil
}

// tailText returns the last lines of a log as text.
func (l *Log) tailText(most, lineBytes int) (string, error) {
	lines, err := l.Tail(most)
	return textOf(lines, lineBytes), err
}

// textOf returns lines as text, each cut to lineBytes.
func textOf(lines []Line, lineBytes int) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(cut(line.String(), lineBytes) + "\n")
	}
	return b.String()
}

// seconds rounds to milliseconds, so that a run and its record give the same text.
func seconds(m event.Millis) string {
	ms := time.Duration(m).Milliseconds()
	return fmt.Sprintf("%d.%03d", ms/1000, ms%1000)
}

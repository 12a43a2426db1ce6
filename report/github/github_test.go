package github_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/event/eventtest"
	"github.com/stepexec/stepexec/report/github"
)

// log writes events and returns what the runner gets, with TOKEN for tokens.
func log(t *testing.T, o github.Options, secrets []string, exitCode int, events ...event.Event) string {
	t.Helper()
	var out bytes.Buffer
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	l := github.New(&out, o)
	l.Hide(secrets)
	for _, e := range events {
		l.Event(e)
	}
	if err := l.End(exitCode); err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`stepexec-[A-Z2-7]{26}`).ReplaceAllString(out.String(), "TOKEN")
}

func started(step string) event.Event {
	return event.Event{Kind: event.StepStarted, Step: step, Image: "x"}
}

func line(step, text string) event.Event {
	return event.Event{Kind: event.Line, Step: step, Stream: event.Stdout, Text: text}
}

func finished(r event.StepResult) event.Event {
	return event.Event{Kind: event.StepFinished, Step: r.Step, Result: &r}
}

func TestStepsThatRunAtTheSameTimeDoNotInterleave(t *testing.T) {
	service := started("db")
	service.Service = true
	got := log(t, github.Options{}, []string{"p%ss\nword!\nx\n"}, 3,
		service, line("db", "listening"),
		started("a"), line("a", "a1"), started("b"), line("b", "b1"), started("c"), line("a", "::error::no\r::set-env name=A::b"),
		line("c", "c1"),
		finished(event.StepResult{Step: "c", Status: event.Failed, ExitCode: 3, File: "ci.yml", Line: 7}),
		line("b", "b2"),
		event.Event{Kind: event.Warning, Step: "a", Text: "100% odd"},
		finished(event.StepResult{Step: "a", Status: event.Succeeded}),
		line("b", "b3"),
		finished(event.StepResult{Step: "b", Status: event.Failed, ExitCode: 1, Ignored: true}),
		finished(event.StepResult{Step: "none", Status: event.Failed, ExitCode: 125, Error: "pull: no\n::error::such", File: "ci.yml", Line: 9}),
		finished(event.StepResult{Step: "db", Service: true, Status: event.Stopped}),
	)
	want := `::add-mask::p%25ss
::add-mask::word!
::group::step a (x)
::stop-commands::TOKEN
a1
::set-env name=A::b
succeeded
::TOKEN::
::endgroup::
::group::step c (x)
::stop-commands::TOKEN
c1
failed with exit code 3
::TOKEN::
::endgroup::
::error file=ci.yml,line=7,title=step c::step c failed: its command ended with exit code 3 (its output is in the group “step c (x)” of the log)
::warning title=step a::100%25 odd
::group::step b (x)
::stop-commands::TOKEN
b1
b2
b3
failed with exit code 1, ignored
::TOKEN::
::endgroup::
::warning title=step b::step b failed: its command ended with exit code 1 (its output is in the group “step b (x)” of the log)
::stop-commands::TOKEN
none: could not be run by stepexec (exit code 125): pull: no
  | \::error::such
::TOKEN::
::error file=ci.yml,line=9,title=step none::stepexec could not run step none: pull: no%0A  | \::error::such
::group::service db (x)
::stop-commands::TOKEN
listening
stopped
::TOKEN::
::endgroup::
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStepsMayCommandTheRunnerWhereThatIsAskedFor(t *testing.T) {
	got := log(t, github.Options{StepCommands: true}, nil, 0,
		started("a"), line("a", "::notice::hello"), finished(event.StepResult{Step: "a", Status: event.Succeeded}))
	want := "::group::step a (x)\n::notice::hello\nsucceeded\n::endgroup::\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAnnotationsKeepToTheLimits(t *testing.T) {
	var events []event.Event
	for i := range 12 {
		events = append(events, finished(event.StepResult{Step: fmt.Sprint(i), Status: event.Failed, ExitCode: 125, Error: strings.Repeat("ü", 3000)}))
	}
	got := log(t, github.Options{}, nil, 125, events...)
	if n := strings.Count(got, "::error "); n != 10 {
		t.Errorf("%d annotations", n)
	}
	for text := range strings.Lines(got) {
		if _, message, ok := strings.Cut(text, "title=step 3::"); ok && len(message) > 4096+1 {
			t.Errorf("a message of %d bytes", len(message))
		}
	}
}

func TestMuchOutputWaitsInAFile(t *testing.T) {
	events := []event.Event{started("a"), started("b")}
	for i := range 40_000 {
		events = append(events, line("b", fmt.Sprintf("%099d", i)))
	}
	events = append(events, finished(event.StepResult{Step: "a", Status: event.Succeeded}), finished(event.StepResult{Step: "b", Status: event.Succeeded}))
	got := log(t, github.Options{}, nil, 0, events...)
	if n := strings.Count(got, "\n0000"); n != 40_000 || !strings.Contains(got, "00039998\n") {
		t.Errorf("%d of 40000 lines", n)
	}
}

func TestOutputsAndSummary(t *testing.T) {
	dir := t.TempDir()
	repository := filepath.Join(dir, "repo")
	o := github.Options{Report: "/tmp/a.json", Env: func(name string) string {
		if name == "GITHUB_WORKSPACE" {
			return repository
		}
		return filepath.Join(dir, name)
	}}
	bad := event.StepResult{Step: "test", Image: "x", Status: event.TimedOut, ExitCode: 124, Started: time.Now(), Error: "the step's time is over", File: filepath.Join(repository, "ci/p.yml"), Line: 3}
	events := []event.Event{{Kind: event.RunStarted, Run: "r", Name: "ci"}, started("test")}
	for i := range 60 {
		events = append(events, line("test", fmt.Sprint("line ", i)))
	}
	events = append(events, finished(bad), event.Event{Kind: event.RunFinished, Summary: &event.Summary{
		Run: "r", Name: "ci", Status: event.TimedOut, ExitCode: 124, Steps: []event.StepResult{bad, {Step: "after", Status: event.Skipped}},
	}})
	got := log(t, o, nil, 124, events...)
	if want := "::error file=ci/p.yml,line=3,title=step test::step test was stopped: the step's time is over (its output is in the group “step test (x)” of the log)\n"; !strings.Contains(got, want) {
		t.Errorf("no %q in:\n%s", want, got)
	}
	outputs, err := os.ReadFile(filepath.Join(dir, "GITHUB_OUTPUT"))
	if err != nil {
		t.Fatal(err)
	}
	want := "exit-code=124\nstatus=timeout\nfailed-step=test\nsteps-total=2\nsteps-failed=1\nsteps-skipped=1\nduration-ms=N\nreport=/tmp/a.json\nlog-dir=\n"
	if diff := cmp.Diff(want, regexp.MustCompile(`(?m)-ms=\d+$`).ReplaceAllString(string(outputs), "-ms=N")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	page, err := os.ReadFile(filepath.Join(dir, "GITHUB_STEP_SUMMARY"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| **test** |", "<details>", "\nline 10\n", "\nline 59\n"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in the summary:\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "\nline 9\n") {
		t.Error("the summary has more than the last 50 lines")
	}
}

func TestTheSummaryIsNoLongerThanGitHubTakes(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page")
	o := github.Options{Env: func(name string) string {
		if name == "GITHUB_STEP_SUMMARY" {
			return page
		}
		return ""
	}}
	events := []event.Event{{Kind: event.RunStarted, Run: "r", Name: "ci"}}
	for i := range 20_000 {
		events = append(events, finished(event.StepResult{Step: fmt.Sprint("step ", i), Status: event.Skipped, Reason: "no"}))
	}
	log(t, o, nil, 0, events...)
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 900<<10 || len(data) < 800<<10 || !strings.Contains(string(data), "There is more in the log") {
		t.Errorf("%d bytes, ending in %q", len(data), data[len(data)-100:])
	}
}

func TestEveryKindReachesTheLogOfTheJob(t *testing.T) {
	want := map[event.Kind]string{
		event.RunStarted: "", event.PullStarted: "", event.PullProgress: "", event.PullFinished: "",
		event.StepStarted:    "::group::step the-step (" + eventtest.Image + ")\n",
		event.StepRetried:    "\n" + eventtest.Retried + "\n",
		event.Line:           "\n" + eventtest.Line + "\n",
		event.Warning:        "::warning title=step the-step::" + eventtest.Warning + "\n",
		event.StepFinished:   "::error file=ci.yml,line=7,title=step the-step::",
		event.StepKept:       "\nthe-step: " + eventtest.Kept + "\n",
		event.RunFinished:    eventtest.Name + ": failed with exit code 7 after 5s\n",
		event.MatrixFinished: "\n" + eventtest.Matrix + "\n",
		event.Failure:        "::error file=ci.yml,line=3,col=5,title=stepexec::" + eventtest.Failure + "\n",
	}
	got := log(t, github.Options{}, nil, 7, eventtest.Sample()...)
	for _, kind := range event.Kinds() {
		text, ok := want[kind]
		if !ok {
			t.Errorf("the test does not say what is shown of %s", kind)
		}
		if !strings.Contains(got, text) {
			t.Errorf("%s: no %q in:\n%s", kind, text, got)
		}
	}
}

// What tools mark as a section becomes a group, in the output of the step that is shown and of one that waits. A title
// cannot command the runner.
func TestSectionsAreGroups(t *testing.T) {
	part := line("b", "::group::half")
	part.Partial = true
	got := log(t, github.Options{}, nil, 0,
		started("a"), started("b"),
		line("a", "before"), line("a", "::group::Compile %0A::error::x"), line("a", "cc"), line("a", "::endgroup::"), line("a", "between"),
		line("b", "\x1b[0Ksection_start:1700000000:test[collapsed=true]\r\x1b[0KRun the tests"), line("b", "ok"), line("b", "\x1b[0Ksection_end:1700000001:test\r\x1b[0K"),
		part, line("b", " a line"),
		line("a", "::group::Link"), line("a", "::endgroup::"),
		finished(event.StepResult{Step: "a", Status: event.Succeeded}),
		finished(event.StepResult{Step: "b", Status: event.Succeeded}),
	)
	want := `::group::step a (x)
::stop-commands::TOKEN
before
::TOKEN::
::endgroup::
::group::step a: Compile %250A::error::x
::stop-commands::TOKEN
cc
::TOKEN::
::endgroup::
::group::step a (x), continued
::stop-commands::TOKEN
between
::TOKEN::
::endgroup::
::group::step a: Link
::endgroup::
::group::step a (x), continued
::stop-commands::TOKEN
succeeded
::TOKEN::
::endgroup::
::group::step b (x)
::endgroup::
::group::step b: Run the tests
::stop-commands::TOKEN
ok
::TOKEN::
::endgroup::
::group::step b (x), continued
::stop-commands::TOKEN
::group::half
 a line
succeeded
::TOKEN::
::endgroup::
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A step with sections without end has only so many groups, and nothing of its output is lost.
func TestSectionsAreBounded(t *testing.T) {
	events := []event.Event{started("a"), started("b")}
	for i := range 5000 {
		events = append(events, line("b", "::group::g"), line("b", fmt.Sprintf("line %d %s", i, strings.Repeat("x", 300))), line("b", "::endgroup::"))
	}
	events = append(events, finished(event.StepResult{Step: "b", Status: event.Succeeded}), finished(event.StepResult{Step: "a", Status: event.Succeeded}))
	got := log(t, github.Options{}, nil, 0, events...)
	if n := strings.Count(got, "\nline "); n != 5000 {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(got, "::group::step b"); n > 1001 {
		t.Errorf("%d groups", n)
	}
}

package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// tested is a step with tests, of which some have failed.
func tested(total int, failed ...string) event.StepResult {
	r := event.StepResult{Step: "test", Status: event.Succeeded, Started: start, Tests: &event.Tests{Files: 1, Total: total, Failed: len(failed)}}
	for _, name := range failed {
		r.Status = event.Failed
		r.Tests.Failures = append(r.Tests.Failures, event.TestFailure{Suite: "pkg", Name: name})
	}
	return r
}

// earlier are runs of commits, each a letter, with a step each; the newest first.
func earlier(commits string, steps ...event.StepResult) (all []event.Earlier) {
	for i, step := range steps {
		commit := strings.TrimSpace(commits[i : i+1])
		all = append(all, event.Earlier{Started: at(-i), Commit: commit, Summary: event.Summary{Run: "before", Status: step.Status, Steps: []event.StepResult{step}}})
	}
	return all
}

func TestFlakyTests(t *testing.T) {
	changed := func(change func(*event.StepResult)) event.StepResult {
		r := tested(3)
		change(&r)
		return r
	}
	other := changed(func(r *event.StepResult) { r.Step = "other" })
	for name, test := range map[string]struct {
		now     event.StepResult
		earlier []event.Earlier
		want    []report.FlakyTest
	}{
		"failed, and passed on the same commit":       {tested(3, "T"), earlier("a", tested(3)), []report.FlakyTest{{Step: "test", Suite: "pkg", Name: "T", Failed: 1, Runs: 2, SameCommit: true}}},
		"passed, and failed on the same commit":       {tested(3), earlier("ba", tested(3), tested(3, "T")), []report.FlakyTest{{Step: "test", Suite: "pkg", Name: "T", Failed: 1, Runs: 3, SameCommit: true}}},
		"failed on the same commit again":             {tested(3, "T"), earlier("a", tested(3, "T")), nil},
		"passed on another commit":                    {tested(3, "T"), earlier("b", tested(3)), nil},
		"the same commit is not known":                {tested(3, "T"), earlier(" ", tested(3)), nil},
		"fewer tests ran on the same commit":          {tested(3, "T"), earlier("a", tested(2)), nil},
		"the step was ended early on the same commit": {tested(3, "T"), earlier("a", changed(func(r *event.StepResult) { r.Status = event.TimedOut })), nil},
		"a report could not be read":                  {tested(3, "T"), earlier("a", changed(func(r *event.StepResult) { r.Tests.Problems = []string{"x"} })), nil},
		"not all failures are kept":                   {tested(3, "T"), earlier("a", changed(func(r *event.StepResult) { r.Tests.Failed = 1 })), nil},
		"no tests":                                    {tested(3, "T"), earlier("a", changed(func(r *event.StepResult) { r.Tests = nil })), nil},
		"another step":                                {tested(3, "T"), earlier("a", other), nil},
		"on and off":                                  {tested(3, "T", "U"), earlier("bcde", tested(3), tested(4, "T"), tested(5), tested(5, "V")), []report.FlakyTest{{Step: "test", Suite: "pkg", Name: "T", Failed: 2, Runs: 5}}},
		"fixed, and broken again":                     {tested(3, "T"), earlier("bc", tested(3), tested(3, "T")), nil},
		"no past":                                     {tested(3, "T"), nil, nil},
	} {
		if diff := cmp.Diff(test.want, report.FlakyTests([]event.StepResult{test.now}, "a", test.earlier)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestARunByHandTellsNoCommitThatItTested(t *testing.T) {
	for want, build := range map[string]*event.Build{"": nil, " ": {Commit: "c"}, "  ": {Commit: "c", Event: "manual"}, "c": {Commit: "c", Event: "push"}} {
		if got := build.TestedCommit(); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %q", build, got)
		}
	}
}

func TestFlakyTestsAreInSummaryAndReports(t *testing.T) {
	const want = "pkg: T (failed in 1 of 2 runs, and passed on the same commit)"
	now := tested(3, "T")
	summary := &event.Summary{Run: "this", Name: "ci", Status: event.Failed, ExitCode: 1, Steps: []event.StepResult{now}}
	var out bytes.Buffer
	p := report.NewPlain(&out)
	p.Flaky = func(s *event.Summary) []report.FlakyTest {
		return report.FlakyTests(s.Steps, "a", earlier("a", tested(3)))
	}
	p.Event(event.Event{Kind: event.RunFinished, Summary: summary})
	if text := "  flaky over the last runs: " + want + "\n"; !strings.Contains(out.String(), text) {
		t.Errorf("plain has no %q, but\n%s", text, &out)
	}
	for kind, text := range map[report.Kind]string{
		report.KindMarkdown: "- flaky over the last runs: pkg&#58; T (failed in 1 of 2 runs, and passed on the same commit)",
		report.KindHTML:     "<p>Flaky over the last runs:</p><ul><li class=\"words\">" + want,
		report.KindJSON:     `"same_commit": true`,
	} {
		c := report.NewCollector(0)
		c.Event(event.Event{Kind: event.RunStarted, Run: "this", Name: "ci", Build: &event.Build{Event: "push", Commit: "a"}})
		c.Event(event.Event{Kind: event.RunFinished, Summary: summary})
		made := c.Report()
		made.Runs[0].AddPast(earlier("a", tested(3)))
		out.Reset()
		if err := report.Write(&out, kind, made); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), text) {
			t.Errorf("%s has no %q, but\n%.3000s", kind, text, &out)
		}
	}
}

// A flaky test that has not failed now is a test case that passed after failures, and one that has stays a failure.
func TestJUnitHasFlakyTests(t *testing.T) {
	failing, passing, unread := tested(3, "T"), tested(3), tested(3)
	unread.Tests.Problems = []string{"x"}
	for name, test := range map[string]struct {
		now    event.StepResult
		before event.StepResult
		want   string
		absent string
	}{
		"failed again": {failing, tested(3), "flaky over the last runs: failed in 1 of 3 runs, and passed on the same commit", "flakyFailure"},
		"not now":      {passing, tested(3, "T"), `<testcase name="pkg: T" classname="ci.test" time="0.000">` + "\n      " + `<flakyFailure message="flaky over the last runs: failed in 1 of 3 runs, and passed on the same commit" type="flaky">`, "<failure"},
		"not known":    {unread, tested(3, "T"), `tests="1"`, "flaky"},
		"never":        {passing, tested(3), `tests="1"`, "flaky"},
	} {
		t.Run(name, func(t *testing.T) {
			c := report.NewCollector(0)
			c.Event(event.Event{Kind: event.RunStarted, Run: "this", Name: "ci", Build: &event.Build{Event: "push", Commit: "a"}})
			c.Event(event.Event{Kind: event.RunFinished, Summary: &event.Summary{Run: "this", Name: "ci", Status: test.now.Status, Steps: []event.StepResult{test.now}}})
			made := c.Report()
			made.Runs[0].AddPast(earlier("aa", test.before, tested(3)))
			var out bytes.Buffer
			if err := report.WriteJUnit(&out, made); err != nil {
				t.Fatal(err)
			}
			checkJUnit(t, out.String())
			if !strings.Contains(out.String(), test.want) || strings.Contains(out.String(), test.absent) {
				t.Errorf("want %q, and not %q:\n%s", test.want, test.absent, &out)
			}
		})
	}
}

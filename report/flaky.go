package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

const (
	flakyChanges = 3  // times that a flaky test has begun or ceased to fail, at least
	mostFlaky    = 20 // flaky tests of a run that are listed
)

// FlakyTest is a test that has failed in some of the last runs of a pipeline, and not in others, with nothing to
// explain it.
type FlakyTest struct {
	Step       string `json:"step"`
	Suite      string `json:"suite,omitempty"`
	Name       string `json:"name"`
	Failed     int    `json:"failed"`                // runs in which it failed
	Runs       int    `json:"runs"`                  // runs whose test reports say whether it failed
	SameCommit bool   `json:"same_commit,omitempty"` // it failed in one run of a commit, and not in another
}

// flakyTitle begins what is said of a flaky test.
const flakyTitle = "flaky over the last runs: "

// flaky is what is known of a test of a step; nil: it is not flaky.
func (r *Run) flaky(step, suite, name string) *FlakyTest {
	for i := range r.Flaky {
		if t := &r.Flaky[i]; t.Step == step && t.Suite == suite && t.Name == name {
			return t
		}
	}
	return nil
}

// FlakyFound calls show with the flaky tests of a run, what is known of each, and its failure in this run if it has
// failed again; otherwise failure is nil.
func (r *Run) FlakyFound(show func(step, title, words string, failure *event.TestFailure)) {
	for i := range r.Flaky {
		t := &r.Flaky[i]
		var failure *event.TestFailure
		for _, s := range r.Steps {
			if s.Step == t.Step {
				failure = s.failureOf(t)
			}
		}
		show(t.Step, t.title(), flakyTitle+t.words(), failure)
	}
}

// failureOf is the failure of a flaky test in the step; nil: it has not failed.
func (s *StepReport) failureOf(t *FlakyTest) *event.TestFailure {
	if s.Tests == nil {
		return nil
	}
	for i := range s.Tests.Failures {
		if f := &s.Tests.Failures[i]; f.Suite == t.Suite && f.Name == t.Name {
			return f
		}
	}
	return nil
}

// title is the suite and the name of the test.
func (t *FlakyTest) title() string {
	return (&event.TestTime{Suite: t.Suite, Name: t.Name}).Title()
}

// words says what is known of the test.
func (t *FlakyTest) words() string {
	text := fmt.Sprintf("failed in %d of %s", t.Failed, plural(t.Runs, "run"))
	if t.SameCommit {
		text += ", and passed on the same commit"
	}
	return text
}

// testID is a test of a step.
type testID struct{ suite, name string }

// testedRun is what the test reports of a step say in one run.
type testedRun struct {
	commit string
	total  int // number of tests
	failed map[testID]bool
}

// testedRunOf returns false if the reports do not tell which tests have failed: they are incomplete, have more failures
// than are kept, or the step was ended early.
func testedRunOf(r *event.StepResult, commit string) (testedRun, bool) {
	t := r.Tests
	if t == nil || t.Total == 0 || len(t.Problems) > 0 || t.Failed != len(t.Failures) || r.Status != event.Succeeded && r.Status != event.Failed {
		return testedRun{}, false
	}
	run := testedRun{commit, t.Total, map[testID]bool{}}
	for i := range t.Failures {
		run.failed[testID{t.Failures[i].Suite, t.Failures[i].Name}] = true
	}
	return run, true
}

// FlakyTests returns the flaky tests of the steps of a run, by the earlier runs of its pipeline, the newest first. A test
// is flaky if it failed in one run of a commit and not in another with as many tests, or has begun or ceased to fail three
// times. Texts are quoted.
func FlakyTests(steps []event.StepResult, commit string, earlier []event.Earlier) (flaky []FlakyTest) {
	for i := range steps {
		if steps[i].Tests == nil {
			continue
		}
		now := quotedResult(steps[i])
		var runs []testedRun // the newest first
		if run, told := testedRunOf(&now, commit); told {
			runs = append(runs, run)
		}
		for _, before := range earlier[:min(len(earlier), MostPast)] {
			for j := range before.Steps {
				if before.Steps[j].Step != steps[i].Step || before.Steps[j].Tests == nil {
					continue
				}
				was := quotedResult(before.Steps[j])
				if run, told := testedRunOf(&was, before.Commit); told {
					runs = append(runs, run)
				}
			}
		}
		flaky = append(flaky, flakyOf(now.Step, runs)...)
	}
	return flaky[:min(len(flaky), mostFlaky)]
}

// flakyOf returns the flaky tests of a step, those that failed most often first.
func flakyOf(step string, runs []testedRun) (flaky []FlakyTest) {
	tests := map[testID]bool{}
	for _, run := range runs {
		for test := range run.failed {
			tests[test] = true
		}
	}
	for test := range tests {
		if found, is := isFlaky(test, runs); is {
			found.Step = step
			flaky = append(flaky, found)
		}
	}
	slices.SortFunc(flaky, func(a, b FlakyTest) int {
		return cmp.Or(b.Failed-a.Failed, cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Name, b.Name))
	})
	return flaky
}

func isFlaky(test testID, runs []testedRun) (FlakyTest, bool) {
	type tested struct {
		commit string
		total  int
	}
	ended := map[tested]bool{} // whether it failed in a run of the commit
	found := FlakyTest{Suite: test.suite, Name: test.name, Runs: len(runs)}
	changes := 0
	for i, run := range runs {
		failed := run.failed[test]
		if failed {
			found.Failed++
		}
		if i > 0 && failed != runs[i-1].failed[test] {
			changes++
		}
		if run.commit == "" {
			continue
		}
		of := tested{run.commit, run.total}
		if before, seen := ended[of]; seen && before != failed {
			found.SameCommit = true
		}
		ended[of] = failed
	}
	return found, found.SameCommit || changes >= flakyChanges
}

// flakyLines are lines about the flaky tests of a step.
func flakyLines(flaky []FlakyTest, step string) (lines []string) {
	for i := range flaky {
		if t := &flaky[i]; t.Step == step {
			lines = append(lines, logs.Quote(t.title())+" ("+t.words()+")")
		}
	}
	return lines
}

package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/testreport"
)

// Limits of the test reports of a step.
const (
	maxTestFiles    = 10_000    // files that are looked at
	maxTestBytes    = 256 << 20 // of all of them
	maxTestProblems = 10
)

// readTests reads the test reports of a step that has ended. What they say changes nothing, unless the step has
// fail: then failed tests fail a step that succeeded, and so does whatever leaves it open how the tests ended: a
// pattern without a file, a report that cannot be read or is older than the step, reports without any test.
func (r *run) readTests(n *node, end outcome) outcome {
	reports := n.step.Reports
	if reports == nil || n.result.Started.IsZero() {
		return end
	}
	tests, err := r.testsOf(n, reports)
	if tests.Files > 0 || len(tests.Problems) > 0 {
		n.result.Tests = &tests
	}
	if err == nil && len(tests.Problems) > 0 {
		err = errors.New(tests.Problems[0])
	}
	switch {
	case err != nil && reports.Fail && end.status == event.Succeeded:
		return outcome{event.Failed, 1, fmt.Errorf("read the test reports: %w", err)}
	case err != nil && !reports.Optional:
		r.warnArtifact(n, fmt.Sprintf("test reports: %v", err))
	}
	if !reports.Fail || end.status != event.Succeeded {
		return end
	}
	switch {
	case tests.Failed > 0:
		return outcome{event.Failed, 1, fmt.Errorf("%d of %d tests failed (reports: fail)", tests.Failed, tests.Total)}
	case tests.Total == 0:
		return outcome{event.Failed, 1, errors.New("the test reports have no test in them (reports: fail)")}
	}
	return end
}

// testsOf reads the reports that the patterns match in the step's workspace. The error says why that could not be
// done at all, or was given up, or that a pattern matches nothing.
func (r *run) testsOf(n *node, reports *pipeline.TestReports) (event.Tests, error) {
	patterns, err := artifact.ParsePatterns(reports.JUnit)
	if err != nil {
		return event.Tests{}, err
	}
	workspace, err := r.openWorkspace(n)
	if err != nil {
		return event.Tests{}, fmt.Errorf("open the workspace: %w", err)
	}
	defer workspace.Close()
	reader := testReader{
		collector: testreport.Collector{Workspace: r.plan.WorkspacePath, Mask: r.mask.String},
		since:     n.result.Started, skipOld: reports.Optional, left: maxTestBytes,
	}
	unmatched, err := artifact.Each(r.life.always, workspace, patterns, artifact.Limits{Files: maxTestFiles}, reader.read)
	tests := reader.collector.Tests()
	tests.Files, tests.Problems = reader.files, reader.problems
	if err == nil && len(unmatched) > 0 {
		err = fmt.Errorf("no file matches %s", strings.Join(unmatched, ", "))
	}
	return tests, err
}

// testReader reads the reports of a step one after the other.
type testReader struct {
	collector testreport.Collector
	since     time.Time // start of the step
	skipOld   bool      // reports of other steps are nothing to speak of
	left      int64     // bytes that may still be read
	files     int
	problems  []string
}

// tick is how much earlier than the clock the kernel's time of a change may be: it is that of the last timer interrupt.
const tick = 20 * time.Millisecond

func (t *testReader) read(name string, info fs.FileInfo, content io.Reader) error {
	if t.left <= 0 {
		return fmt.Errorf("there are more than %d MiB of test reports", maxTestBytes>>20)
	}
	// The time of modification can be that of a copied file. The time of the last change is the kernel's own.
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && time.Unix(stat.Ctim.Unix()).Before(t.since.Add(-tick)) {
		if !t.skipOld {
			t.problem(name, "it is older than the step, so it says nothing about it (have the step remove and write it)")
		}
		return nil
	}
	counted := &io.LimitedReader{R: content, N: t.left}
	err := t.collector.Read(counted)
	t.left = counted.N
	if err != nil {
		t.problem(name, err.Error())
		return nil
	}
	t.files++
	return nil
}

func (t *testReader) problem(name, what string) {
	if len(t.problems) < maxTestProblems {
		t.problems = append(t.problems, name+": "+what)
	}
}

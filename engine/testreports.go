package engine

import (
	"errors"
	"fmt"
	"io"
	"strings"

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
// fail: then failed tests, and reports that are missing or cannot be read, fail a step that succeeded.
func (r *run) readTests(n *node, end outcome) outcome {
	reports := n.step.Reports
	if reports == nil || n.result.Started.IsZero() {
		return end
	}
	tests, err := r.testsOf(n, reports)
	if tests.Files > 0 || len(tests.Problems) > 0 {
		n.result.Tests = &tests
	}
	if err == nil && tests.Files == 0 && len(tests.Problems) == 0 {
		err = fmt.Errorf("no file matches %s", strings.Join(reports.JUnit, ", "))
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
	if tests.Failed > 0 && reports.Fail && end.status == event.Succeeded {
		return outcome{event.Failed, 1, fmt.Errorf("%d of %d tests failed (reports: fail)", tests.Failed, tests.Total)}
	}
	return end
}

// testsOf reads the reports that the patterns match in the step's workspace. The error says why that could not be
// done at all, or was given up.
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
	collector := testreport.Collector{Workspace: r.plan.WorkspacePath, Mask: r.mask.String}
	var problems []string
	files, left := 0, int64(maxTestBytes)
	_, err = artifact.Each(r.life.always, workspace, patterns, artifact.Limits{Files: maxTestFiles}, func(name string, content io.Reader) error {
		if left <= 0 {
			return fmt.Errorf("there are more than %d MiB of test reports", maxTestBytes>>20)
		}
		counted := &io.LimitedReader{R: content, N: left}
		err := collector.Read(counted)
		left = counted.N
		if err == nil {
			files++
		} else if len(problems) < maxTestProblems {
			problems = append(problems, fmt.Sprintf("%s: %v", name, err))
		}
		return nil
	})
	tests := collector.Tests()
	tests.Files, tests.Problems = files, problems
	return tests, err
}

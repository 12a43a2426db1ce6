package main

import (
	"slices"
	"sync"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
)

// addPast adds to a report the earlier runs of its pipelines of which this state root has a record. A run
// without a record, such as one whose record could not be kept, has no past.
func addPast(root string, made *report.Report) {
	recent := record.Recent(root)
	for _, run := range made.Runs {
		run.AddPast(record.Past(root, recent, run.ID, report.MostPast))
	}
}

// flakyTests returns a function that looks up which tests of a run are flaky, by the records of a state root. It reads
// them only if a test has failed, and once.
func flakyTests(root string) func(*event.Summary) []report.FlakyTest {
	recent := sync.OnceValue(func() []record.Record { return record.Recent(root) })
	return func(s *event.Summary) []report.FlakyTest {
		if !slices.ContainsFunc(s.Steps, func(r event.StepResult) bool { return r.Tests != nil && r.Tests.Failed > 0 }) {
			return nil
		}
		of, err := record.Find(root, s.Run)
		if err != nil {
			return nil // such as a run whose record could not be kept
		}
		return report.FlakyTests(s.Steps, of.Build.TestedCommit(), record.Past(root, recent(), s.Run, report.MostPast))
	}
}

package main

import (
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

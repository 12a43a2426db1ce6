package main

import (
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
)

// addPast adds to a report the earlier runs of its pipelines of which this state root has a record. A run
// without a record, such as one whose record could not be kept, has no past.
func addPast(root string, made *report.Report) {
	recent := record.Recent(root)
	for _, run := range made.Runs {
		of, err := record.Find(root, run.ID)
		if err != nil || of.Run != run.ID {
			continue
		}
		var summaries []event.Summary
		var started []time.Time
		for _, r := range record.PastOf(&of, recent, report.MostPast) {
			summaries, started = append(summaries, *r.Summary), append(started, r.Started)
		}
		run.AddPast(summaries, started)
	}
}

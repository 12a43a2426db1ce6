// Package report shows the events of a run: as plain text or JSON lines while the run goes
// on, as a summary at its end, and as a report afterwards. A Collector gathers the events
// for a report, and a Write function writes it as HTML, JSON, JUnit XML or Markdown.
//
// It decides nothing about a run and masks nothing: secrets are masked before an event is
// sent.
package report

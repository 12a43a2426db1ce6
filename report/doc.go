// Package report shows what package engine tells in its events: as plain text
// or JSON lines while a run goes on, as a summary at its end, and as a report
// afterwards: a Collector gathers the events, and a Write function writes them as HTML,
// JSON, JUnit XML or Markdown.
//
// It is not for: deciding anything about a run, nor for masking; events come
// masked.
package report

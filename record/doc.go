// Package record keeps what happened in a run after the run has ended. Each run has a folder
// ROOT/history/RUN with the plan and how it ended (record.json), and with every event as a
// line of JSON (log.ndjson). Old records are removed.
//
// It masks nothing: secrets are masked before an event is sent. Package sandbox knows which
// runs are alive.
package record

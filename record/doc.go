// Package record keeps what happened in a run after the run has ended: a folder
// a run, ROOT/history/RUN, with the plan and how it ended (record.json) and every
// event, one line of JSON each (log.ndjson). Old ones are removed.
//
// It is not for: masking, which is done before events come here, nor for telling
// which runs live, which is package sandbox's.
package record

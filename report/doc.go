// Package report shows what package engine tells in its events: as plain text
// or JSON lines while a run goes on, and as a summary at its end.
//
// It is not for: deciding anything about a run, nor for masking; events come
// masked.
package report

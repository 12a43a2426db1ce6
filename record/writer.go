package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/stepexec/stepexec/event"
)

// Writer writes the record of one run while the run goes on.
type Writer struct {
	record    Record
	log       *log
	artifacts int64 // bytes of the artifacts in the record
}

// Create begins the record of a run, which is marked as not finished. Secrets must be masked
// in every text of r. maxBytes bounds the log; 0 means no bound.
func Create(root string, r Record, maxBytes int64) (_ *Writer, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep a record of the run: %w", err)
		}
	}()
	r.dir = filepath.Join(folder(root), r.Run)
	if err := os.MkdirAll(folder(root), 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(r.dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(r.dir))
	}
	if err := r.save(); err != nil {
		return nil, errors.Join(err, file.Close(), os.RemoveAll(r.dir))
	}
	return &Writer{record: r, log: newLog(file, maxBytes)}, nil
}

// Event adds an event to the log. It does not wait for the disk, except for a second when a
// slow disk has fallen far behind; after that, lines are left out and the log says so. It
// must not be called by two goroutines at once.
func (w *Writer) Event(e event.Event) {
	if e.Kind == event.PullProgress {
		return // of interest only while it goes on
	}
	if e.Kind == event.Line {
		w.log.addLine(&e)
		return
	}
	if e.Kind == event.RunFinished {
		w.record.Summary = e.Summary
	}
	if e.Kind == event.StepFinished && e.Result != nil && len(e.Result.Artifacts) > 0 {
		w.countArtifacts(e.Result.Artifacts)
	}
	data, err := json.Marshal(e)
	if err != nil {
		w.log.fail(err)
		return
	}
	w.log.add(append(data, '\n'))
}

// countArtifacts notes the size of the artifacts that lie in the record, for Trim.
func (w *Writer) countArtifacts(all []event.Artifact) {
	before := w.artifacts
	for _, a := range all {
		if filepath.Dir(a.Folder) == filepath.Join(w.record.dir, ArtifactsDir) {
			w.artifacts += a.Bytes
		}
	}
	if w.artifacts == before {
		return
	}
	if err := os.WriteFile(filepath.Join(w.record.dir, sizeFile), strconv.AppendInt(nil, w.artifacts, 10), 0o600); err != nil {
		w.log.fail(err)
	}
}

// Close writes the rest of the log, and the run's summary if there was one. The error says
// what could not be written.
func (w *Writer) Close() error {
	err := w.log.close()
	if w.record.Summary != nil {
		w.record.Finished = true
		err = errors.Join(err, w.record.save())
	}
	if err != nil {
		return fmt.Errorf("keep the record of the run: %w", err)
	}
	return nil
}

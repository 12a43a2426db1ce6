package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report"
)

// reportFlags say which reports are written at the end of a run.
type reportFlags struct{ files []string }

func (o *reportFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.files, "report", nil, "write a report to `[KIND=]FILE` at the end: html, json, junit or markdown, or as FILE ends: .html, .json, .xml, .md (may be repeated)")
}

// open opens the files of the reports.
func (o *reportFlags) open() (*reports, error) {
	r := &reports{}
	if len(o.files) > 0 {
		r.collector = report.NewCollector(0)
	}
	for _, text := range o.files {
		file, err := openReport(text)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--report %s: %w", text, err), r.close())
		}
		r.files = append(r.files, file)
	}
	return r, nil
}

// reports are the reports of a run.
type reports struct {
	files     []*reportFile
	mu        sync.Mutex        // guards collector
	collector *report.Collector // nil if there are no reports
}

// event passes an event to the reports.
func (r *reports) event(e *event.Event) {
	if r.collector == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.collector.Event(*e)
}

// tee copies everything written to w to the reports, as a stream of a step. The returned function
// adds the last line if it has no newline.
func (r *reports) tee(w io.Writer, step, stream string) (io.Writer, func() error) {
	if r.collector == nil {
		return w, func() error { return nil }
	}
	lines := logs.NewLines(func(lines []logs.Line) {
		for _, line := range lines {
			r.event(&event.Event{Kind: event.Line, Time: time.Now(), Step: step, Stream: stream, Text: line.Text, Partial: line.Partial})
		}
	})
	return io.MultiWriter(w, lines), lines.Close
}

// write writes all reports that it can, compared with earlier runs of the state root, and closes the files. If the run itself has failed, its
// exit code stays, and a report that could not be written causes only a message.
func (r *reports) write(root string, code int, say func(string)) error {
	if len(r.files) == 0 {
		return nil
	}
	made := r.collector.Report()
	addPast(root, made)
	var failed []error
	for _, file := range r.files {
		if err := file.write(made); err != nil {
			failed = append(failed, fmt.Errorf("write the report %s: %w", file.name, err))
		}
	}
	err := errors.Join(errors.Join(failed...), r.close())
	if err == nil || code == 0 {
		return err
	}
	say(err.Error())
	return nil
}

func (r *reports) close() error {
	var failed []error
	for _, file := range r.files {
		failed = append(failed, file.close())
	}
	return errors.Join(failed...)
}

// reported is a display of a run with reports and provenance.
type reported struct {
	display
	reports  *reports
	attested *provenances
	root     string // state root
}

func (r *reported) Event(e *event.Event) {
	r.reports.event(e)
	r.display.Event(e)
}

// End writes the reports and then ends the display.
func (r *reported) End(code int) error {
	err := r.reports.write(r.root, code, r.Say)
	if err != nil {
		code = event.CodeError
	}
	if attestErr := r.attested.end(code); attestErr != nil {
		err, code = errors.Join(err, attestErr), cmp.Or(code, event.CodeError)
	}
	return errors.Join(err, r.display.End(code))
}

// path returns the path of the first report in JSON, for programs, or otherwise of the first
// report; "" without reports.
func (r *reports) path() string {
	if len(r.files) == 0 {
		return ""
	}
	file := r.files[max(0, slices.IndexFunc(r.files, func(f *reportFile) bool { return f.kind == report.KindJSON }))]
	path, err := filepath.Abs(file.name)
	if err != nil {
		return file.name
	}
	return path
}

package report

import (
	_ "embed"
	"io"

	"github.com/stepexec/stepexec/event"
)

//go:embed events.schema.json
var eventSchema []byte

// EventSchema returns the JSON Schema (draft 2020-12) of the lines that JSON writes.
func EventSchema() []byte { return append([]byte(nil), eventSchema...) }

// JSON writes every event as one line of JSON (NDJSON), in the form of
// event.Event. Names and errors in it are as they are, not quoted: programs compare them. The
// text is safe to look at.
type JSON struct {
	w       io.Writer
	encoder *event.Encoder
	lines   event.LineEncoder
	line    []byte // the last line, for reuse
	err     error
}

// NewJSON returns a JSON that writes to w.
func NewJSON(w io.Writer) *JSON {
	return &JSON{w: w, encoder: event.NewEncoder(w)}
}

// Event writes one event. After a failed write it writes nothing more.
func (j *JSON) Event(e event.Event) {
	switch {
	case j.err != nil:
	case e.Kind == event.Line:
		j.line = j.lines.Append(j.line[:0], &e)
		_, j.err = j.w.Write(j.line)
	default:
		j.err = j.encoder.Encode(e)
	}
}

// Err is the first error of writing, or nil.
func (j *JSON) Err() error { return j.err }

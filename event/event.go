package event

import (
	"strconv"
	"time"
)

// Kind names what an event reports.
type Kind string

// The kinds of events, with the fields of Event that each of them fills beside Time.
const (
	RunStarted     Kind = "run_started"     // Run, Name, Version, Position, Steps, Build
	PullStarted    Kind = "pull_started"    // Image
	PullProgress   Kind = "pull_progress"   // Image, Progress; at most ten a second for each image
	PullFinished   Kind = "pull_finished"   // Image, Digest, Duration, Error
	StepStarted    Kind = "step_started"    // Step, Image, Service
	Line           Kind = "line"            // Step, Stream, Text, Partial
	StepRetried    Kind = "step_retried"    // Step, Text
	StepFinished   Kind = "step_finished"   // Step, Result
	StepKept       Kind = "step_kept"       // Step, Text
	Warning        Kind = "warning"         // Text, and Step when the warning concerns one
	MatrixFinished Kind = "matrix_finished" // Text; once, after the last run of the matrix
	RunFinished    Kind = "run_finished"    // Summary
	Failure        Kind = "failure"         // Error, File, Line, Column; stepexec itself failed, outside any step
)

// Version is the version of the JSON form of events. An added field or kind leaves it
// as it is; a change that would break a reader raises it.
const Version = 1

// The streams of a step, as in Event.Stream.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Event is something that happened. Secrets are masked in every text of an event. Its
// JSON form is what `stepexec run --output json` prints, one event a line.
type Event struct {
	Time     time.Time   `json:"time"`
	Kind     Kind        `json:"kind"`
	Version  int         `json:"version,omitempty"`  // the constant Version
	Run      string      `json:"run,omitempty"`      // ID of the run
	Name     string      `json:"name,omitempty"`     // name of the pipeline
	Cell     string      `json:"cell,omitempty"`     // cell of the matrix that the run belongs to
	Position int         `json:"position,omitempty"` // place of the run among those of its file, such as the cells of a matrix, from 1; 0 for the only run
	Step     string      `json:"step,omitempty"`     // name of the step or service
	Service  bool        `json:"service,omitempty"`
	Image    string      `json:"image,omitempty"`     // reference, as the pipeline names it
	Digest   string      `json:"digest,omitempty"`    // digest of the image's manifest
	SignedBy string      `json:"signed_by,omitempty"` // key that signed the image, where a rule asks for a signature
	Stream   string      `json:"stream,omitempty"`    // Stdout or Stderr; Stdout for both unless the run keeps them apart
	Text     string      `json:"text,omitempty"`
	Partial  bool        `json:"partial,omitempty"` // the line continues in the next event of its stream
	Duration Millis      `json:"duration_ms,omitempty"`
	Error    string      `json:"error,omitempty"`
	Steps    int         `json:"steps,omitempty"` // number of steps of the run, with those left out, without services
	Build    *Build      `json:"build,omitempty"` // nil: nothing is known
	Progress *Progress   `json:"progress,omitempty"`
	File     string      `json:"file,omitempty"`   // file with the error that Error describes
	Line     int         `json:"line,omitempty"`   // line of the error in File, from 1
	Column   int         `json:"column,omitempty"` // column of the error in File, from 1
	Result   *StepResult `json:"result,omitempty"`
	Summary  *Summary    `json:"summary,omitempty"`
}

// Progress is how far the fetch of an image has come. Layers are downloaded and unpacked
// at the same time; layers that the store already has do not count.
type Progress struct {
	Bytes      int64 `json:"bytes"`           // compressed bytes read and unpacked
	Total      int64 `json:"total,omitempty"` // compressed bytes of all layers; 0: unknown
	Rate       int64 `json:"rate"`            // bytes a second, over the last seconds
	Layers     int   `json:"layers"`          // number of layers to fetch
	LayersDone int   `json:"layers_done"`     // number of layers fetched and unpacked
}

// Millis is a duration that JSON shows in whole milliseconds.
type Millis time.Duration

// MarshalJSON writes whole milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Duration(m).Milliseconds(), 10), nil
}

// UnmarshalJSON reads whole milliseconds.
func (m *Millis) UnmarshalJSON(data []byte) error {
	ms, err := strconv.ParseInt(string(data), 10, 64)
	*m = Millis(time.Duration(ms) * time.Millisecond)
	return err
}

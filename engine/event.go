package engine

import (
	"strconv"
	"time"
)

// Kind says what an event tells.
type Kind string

// The kinds of events, with the fields of Event that they fill beside Time.
const (
	RunStarted     Kind = "run_started"     // Run, Name, Version, Steps
	PullStarted    Kind = "pull_started"    // Image
	PullProgress   Kind = "pull_progress"   // Image, Progress; at most ten a second for an image
	PullFinished   Kind = "pull_finished"   // Image, Digest, Duration, Error
	StepStarted    Kind = "step_started"    // Step, Image, Service
	Line           Kind = "line"            // Step, Stream, Text, Partial
	StepRetried    Kind = "step_retried"    // Step, Text
	StepFinished   Kind = "step_finished"   // Step, Result
	StepKept       Kind = "step_kept"       // Step, Text
	Warning        Kind = "warning"         // Text, and Step when it is about one
	MatrixFinished Kind = "matrix_finished" // Text; once, after the last of its runs
	RunFinished    Kind = "run_finished"    // Summary
	Failure        Kind = "failure"         // Error, File, Line, Column; stepexec itself failed, outside of any step
)

// EventVersion is the version of the form of events. What is added does not change
// it; what would break a reader does.
const EventVersion = 1

// Streams of a step.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Event is something that happened. Every text in it has been masked. Its
// JSON form is what `stepexec run --output json` prints, one event a line.
type Event struct {
	Time     time.Time   `json:"time"`
	Kind     Kind        `json:"kind"`
	Version  int         `json:"version,omitempty"` // EventVersion
	Run      string      `json:"run,omitempty"`
	Name     string      `json:"name,omitempty"`
	Cell     string      `json:"cell,omitempty"` // of the matrix, of which the run is one
	Step     string      `json:"step,omitempty"`
	Service  bool        `json:"service,omitempty"`
	Image    string      `json:"image,omitempty"`
	Digest   string      `json:"digest,omitempty"`
	Stream   string      `json:"stream,omitempty"`
	Text     string      `json:"text,omitempty"`
	Partial  bool        `json:"partial,omitempty"` // the line goes on in the next event
	Duration Millis      `json:"duration_ms,omitempty"`
	Error    string      `json:"error,omitempty"`
	Steps    int         `json:"steps,omitempty"` // of the run, with those that are left out, without services
	Progress *Progress   `json:"progress,omitempty"`
	File     string      `json:"file,omitempty"` // that is wrong
	Line     int         `json:"line,omitempty"`
	Column   int         `json:"column,omitempty"`
	Result   *StepResult `json:"result,omitempty"`
	Summary  *Summary    `json:"summary,omitempty"`
}

// Progress says how far an image is that is fetched and unpacked at the same time.
// Layers that are there already do not count.
type Progress struct {
	Bytes      int64 `json:"bytes"`           // compressed, that were read and unpacked
	Total      int64 `json:"total,omitempty"` // of all layers; 0: not known
	Rate       int64 `json:"rate"`            // bytes a second, of the last seconds
	Layers     int   `json:"layers"`
	LayersDone int   `json:"layers_done"`
}

// Millis is a duration that JSON shows as whole milliseconds.
type Millis time.Duration

// MarshalJSON gives whole milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Duration(m).Milliseconds(), 10), nil
}

// UnmarshalJSON reads whole milliseconds.
func (m *Millis) UnmarshalJSON(data []byte) error {
	ms, err := strconv.ParseInt(string(data), 10, 64)
	*m = Millis(time.Duration(ms) * time.Millisecond)
	return err
}

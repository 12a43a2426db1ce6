package report

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

// JSONVersion is the version of the form of the JSON report. It grows when a field is
// removed or changes its meaning; new fields may be added at any time.
const JSONVersion = 1

// jsonTail is the number of last lines of each step in a JSON report.
const jsonTail = 50

//go:embed report.schema.json
var reportSchema []byte

// Schema is the JSON Schema of the JSON report.
func Schema() []byte { return slices.Clone(reportSchema) }

type jsonReport struct {
	Version int          `json:"version"`
	Made    time.Time    `json:"made"`
	Status  event.Status `json:"status"`
	Error   string       `json:"error,omitempty"`
	Runs    []jsonRun    `json:"runs"`
}

type jsonRun struct {
	Run      string       `json:"run"`
	Name     string       `json:"name"`
	Build    *event.Build `json:"build,omitempty"`
	Status   event.Status `json:"status"`
	ExitCode int          `json:"exit_code"`
	Error    string       `json:"error,omitempty"`
	Finished bool         `json:"finished"`
	Started  time.Time    `json:"started,omitzero"`
	Duration event.Millis `json:"duration_ms"`
	Past     []PastRun    `json:"past,omitempty"`
	Compared *Comparison  `json:"compared,omitempty"`
	Flaky    []FlakyTest  `json:"flaky_tests,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`
	Images   []Image      `json:"images,omitempty"`
	Steps    []jsonStep   `json:"steps"`
}

type jsonStep struct {
	event.StepResult
	Critical bool     `json:"critical,omitempty"`
	Flaky    bool     `json:"flaky,omitempty"` // it succeeded only when it was tried again
	Cause    string   `json:"cause,omitempty"` // who caused a failure: step or stepexec
	Retries  []string `json:"retries,omitempty"`
	Kept     string   `json:"kept,omitempty"`
	Log      *jsonLog `json:"log,omitempty"`
}

type jsonLog struct {
	Lines int        `json:"lines"`
	Bytes int64      `json:"bytes"`
	Tail  []jsonLine `json:"tail"`
}

type jsonLine struct {
	Stream  string `json:"stream"`
	Text    string `json:"text"`
	Partial bool   `json:"partial,omitempty"`
}

// WriteJSON writes a report as one JSON document, in the form of Schema. It has only the
// last lines of each step: `stepexec logs` has all of them.
func WriteJSON(w io.Writer, r *Report) error {
	out := jsonReport{Version: JSONVersion, Made: r.Made, Status: r.Status(), Error: r.Error, Runs: []jsonRun{}}
	for _, run := range r.Runs {
		j := jsonRun{
			Run: run.ID, Name: run.Name, Build: run.Build, Status: run.Status, ExitCode: run.ExitCode, Error: run.Error, Finished: run.Finished,
			Started: run.Started, Duration: run.Duration, Past: run.Past, Compared: run.Compared, Flaky: run.Flaky, Warnings: run.Warnings, Images: run.Images, Steps: []jsonStep{},
		}
		for _, s := range run.Steps {
			step, err := jsonOf(s)
			if err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			j.Steps = append(j.Steps, step)
		}
		out.Runs = append(out.Runs, j)
	}
	encoder := event.NewEncoder(w)
	encoder.Indent = "  "
	if err := encoder.Encode(out); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func jsonOf(s *StepReport) (jsonStep, error) {
	j := jsonStep{StepResult: s.StepResult, Critical: s.Critical, Flaky: s.Flaky(), Retries: s.Retries, Kept: s.Kept}
	if s.Status == event.Failed {
		j.Cause = "step"
		if stepexecsOwn(&s.StepResult) {
			j.Cause = "stepexec"
		}
	}
	if s.Log.Lines == 0 {
		return j, nil
	}
	lines, err := s.Log.Tail(jsonTail)
	j.Log = &jsonLog{Lines: s.Log.Lines, Bytes: s.Log.Bytes, Tail: []jsonLine{}}
	for _, line := range lines {
		if line.Missing == 0 {
			j.Log.Tail = append(j.Log.Tail, jsonLine{line.Stream, strings.TrimRight(line.Text, "\r"), line.Partial})
		}
	}
	return j, err
}

package engine

import (
	"time"
)

// Status is where a step stands in its life.
type Status string

// The states of a step. It begins pending; all but pending and running are
// ends.
const (
	Pending   Status = "pending"
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"    // it, or the attempt to start it
	Skipped   Status = "skipped"   // its conditions were not met
	Cancelled Status = "cancelled" // the run was interrupted
	TimedOut  Status = "timed out" // its own time or the run's was over
	Stopped   Status = "stopped"   // a service, ended with the run
)

// Exit codes of a run that are not a step's own.
const (
	CodeTimeout     = 124
	CodeError       = 125 // stepexec itself could not do it
	CodeOOM         = 137
	CodeInterrupted = 130
)

// StepResult says how a step ended.
type StepResult struct {
	Step     string `json:"step"`
	Service  bool   `json:"service,omitempty"`
	Detached bool   `json:"detached,omitempty"` // it ran beside the steps after it
	File     string `json:"file,omitempty"`     // that the step stands in, as the user named it
	Line     int    `json:"line,omitempty"`
	Image    string `json:"image"`
	Digest   string `json:"digest,omitempty"` // of the image's manifest
	Status   Status `json:"status"`
	ExitCode int    `json:"exit_code"`
	NotReady bool   `json:"not_ready,omitempty"` // a service or a detached step that was waited for in vain
	Ignored  bool   `json:"ignored,omitempty"`   // it failed, and the pipeline says that it may
	OOM      bool   `json:"oom,omitempty"`
	Reason   string `json:"reason,omitempty"`  // which of its conditions were met, or why none was
	DoneIn   string `json:"done_in,omitempty"` // the earlier run that has done the step, which was not run again
	Error    string `json:"error,omitempty"`   // why, in words; stepexec's own failures have always one

	DependsOn []string  `json:"depends_on,omitempty"` // steps and services that it could not start before
	WaitedFor string    `json:"waited_for,omitempty"` // the one of them that it waited for last
	Eligible  time.Time `json:"eligible,omitzero"`    // when nothing that it depends on stood in its way any more
	Prepared  time.Time `json:"prepared,omitzero"`    // when its preparation began, which may be before it was eligible: Pull, then Create
	Started   time.Time `json:"started,omitzero"`
	Duration  Millis    `json:"duration_ms"`         // from start to end of its command
	Queue     Millis    `json:"queue_ms,omitempty"`  // eligible, but as many others ran as may run at once
	Pull      Millis    `json:"pull_ms,omitempty"`   // waiting for its image
	Create    Millis    `json:"create_ms,omitempty"` // preparing its container
	Start     Millis    `json:"start_ms,omitempty"`  // starting its command in the container, a part of Duration

	Ready    Millis            `json:"ready_ms,omitempty"` // from the start of its command until it was ready, where that was waited for
	Outputs  map[string]string `json:"outputs,omitempty"`  // variables that it handed on
	Masked   int               `json:"masked,omitempty"`   // how many values it had masked
	Attempts []Attempt         `json:"attempts,omitempty"` // of a step that was tried more than once
	Usage    *Usage            `json:"usage,omitempty"`    // nil: its command never ran
}

// bad reports whether the step makes the run fail. A service, or a detached
// step, does so only when it could not be started or was not ready.
func (r *StepResult) bad() bool {
	switch {
	case r.Service || r.Detached:
		return r.NotReady || r.Status == Failed && r.Started.IsZero()
	case r.Ignored:
		return false
	}
	return r.Status == Failed || r.Status == TimedOut || r.Status == Cancelled
}

// Summary says how a run ended.
type Summary struct {
	Run      string       `json:"run"`
	Name     string       `json:"name,omitempty"`
	Status   Status       `json:"status"`
	ExitCode int          `json:"exit_code"`
	Error    string       `json:"error,omitempty"`
	Duration Millis       `json:"duration_ms"`
	Steps    []StepResult `json:"steps"` // services first, then steps, as in the file
}

package event

import (
	"time"
)

// Status is the state of a step or a run.
type Status string

// The states of a step. It begins pending; every state but Pending and Running is an end.
const (
	Pending   Status = "pending"
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"    // the step failed, or could not be started
	Skipped   Status = "skipped"   // its conditions were not met
	Cancelled Status = "cancelled" // the run was interrupted
	TimedOut  Status = "timed out" // its own time or the run's time was over
	Stopped   Status = "stopped"   // a service, which ended with the run
)

// Exit codes of a run that do not come from a step's command.
const (
	CodeTimeout     = 124
	CodeError       = 125 // stepexec itself failed
	CodeOOM         = 137
	CodeInterrupted = 130
)

// StepResult is how a step or service ended.
type StepResult struct {
	Step       string `json:"step"`
	Service    bool   `json:"service,omitempty"`
	Detached   bool   `json:"detached,omitempty"` // it ran beside the steps after it
	File       string `json:"file,omitempty"`     // pipeline file with the step, as the user named it
	Line       int    `json:"line,omitempty"`     // line of the step in File
	Image      string `json:"image"`              // reference, as the pipeline names it
	Digest     string `json:"digest,omitempty"`   // digest of the image's manifest
	Status     Status `json:"status"`
	ExitCode   int    `json:"exit_code"`
	NotReady   bool   `json:"not_ready,omitempty"`   // a service or detached step that did not become ready
	EndedEarly bool   `json:"ended_early,omitempty"` // a service or detached step that ended before what needs it had ended
	Ignored    bool   `json:"ignored,omitempty"`     // it failed, and the pipeline allows that
	OOM        bool   `json:"oom,omitempty"`
	Reason     string `json:"reason,omitempty"`  // the conditions that were met, or why the step was skipped
	DoneIn     string `json:"done_in,omitempty"` // ID of the earlier run that did the step; it did not run again
	Error      string `json:"error,omitempty"`   // why it failed, in words; never empty when stepexec itself failed
	Output     string `json:"output,omitempty"`  // file that took its output, or OutputNone; "": the log

	DependsOn []string  `json:"depends_on,omitempty"` // steps and services that had to be over before it could start
	WaitedFor string    `json:"waited_for,omitempty"` // the one of DependsOn that was over last
	Eligible  time.Time `json:"eligible,omitzero"`    // when everything in DependsOn was over
	Prepared  time.Time `json:"prepared,omitzero"`    // when its preparation began (Pull, then Create); may be before Eligible
	Started   time.Time `json:"started,omitzero"`     // when its command was started
	Duration  Millis    `json:"duration_ms"`          // from the start to the end of its command
	Queue     Millis    `json:"queue_ms,omitempty"`   // time eligible but waiting for other steps, at the limit of parallel steps
	Pull      Millis    `json:"pull_ms,omitempty"`    // time waiting for its image
	Create    Millis    `json:"create_ms,omitempty"`  // time creating its container
	Start     Millis    `json:"start_ms,omitempty"`   // time starting its command in the container, a part of Duration

	Ready    Millis            `json:"ready_ms,omitempty"` // time from the start of its command until it was ready, if that was waited for
	Outputs  map[string]string `json:"outputs,omitempty"`  // variables that it passed on, by name
	Masked   int               `json:"masked,omitempty"`   // number of values that it asked to mask
	Attempts []Attempt         `json:"attempts,omitempty"` // of a step that was tried more than once
	Usage    *Usage            `json:"usage,omitempty"`    // nil: its command never ran
	Egress   []Connection      `json:"egress,omitempty"`   // of a step with egress rules: its connections, as far as it began them

	Tests     *Tests     `json:"tests,omitempty"`     // nil: it has no test reports
	Artifacts []Artifact `json:"artifacts,omitempty"` // files that were collected of it
	Caches    []CacheUse `json:"caches,omitempty"`    // its keyed caches, as they were restored
}

// CacheUse says what a step got of a keyed cache.
type CacheUse struct {
	Name     string `json:"name"`
	Restored string `json:"restored"` // by what: whole key, part of the key, or nothing
	Files    int    `json:"files,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"` // of all files
}

// Artifact is a set of files that were collected of a step.
type Artifact struct {
	Name   string `json:"name"`
	Folder string `json:"folder"` // that holds the files: its absolute path on this machine
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// Connection is a destination that a step has had connections with.
type Connection struct {
	Kind     string    `json:"kind,omitempty"` // service: another container of the run; host: the host itself; "": the world
	Name     string    `json:"name,omitempty"` // that led there; "" when no name was asked for
	Also     []string  `json:"also,omitempty"` // other names that were asked for and have the address
	Address  string    `json:"address"`
	Port     uint16    `json:"port,omitempty"` // 0 for a protocol without ports
	Protocol string    `json:"protocol"`
	Sent     uint64    `json:"sent"`     // bytes, with the headers of IP
	Received uint64    `json:"received"` // bytes, with the headers of IP
	First    time.Time `json:"first"`    // when the first connection was begun
	Last     time.Time `json:"last"`     // when the last one was begun
	Refused  bool      `json:"refused,omitempty"`
}

// FailsRun reports whether the result makes the run fail. A service or a detached step
// does so only when it could not be started, did not become ready or ended before what
// needs it.
func (r *StepResult) FailsRun() bool {
	switch {
	case r.Ignored:
		return false
	case r.Service || r.Detached:
		return r.NotReady || r.EndedEarly || r.Status == Failed && r.Started.IsZero()
	}
	return r.Status == Failed || r.Status == TimedOut || r.Status == Cancelled
}

// OutputNone as StepResult.Output says that what the step printed was thrown away.
const OutputNone = "none"

// LastLines stands in the Error of a service that did not become ready, before the last lines that it printed.
const LastLines = "; its last lines:"

// WithoutLines says why there are no lines of a step in the log, as the rest of a sentence.
func (r *StepResult) WithoutLines() string {
	switch r.Output {
	case "":
		return "it printed nothing"
	case OutputNone:
		return "its output was not kept (output: none)"
	}
	return "its output is in " + r.Output
}

// Flaky reports whether the step succeeded only when it was tried again.
func (r *StepResult) Flaky() bool { return r.Status == Succeeded && len(r.Attempts) > 1 }

// Attempt is how one of several attempts at a step ended.
type Attempt struct {
	Status   Status    `json:"status"`
	ExitCode int       `json:"exit_code"`
	OOM      bool      `json:"oom,omitempty"`
	Error    string    `json:"error,omitempty"`
	Started  time.Time `json:"started,omitzero"` // when the attempt's command was started
	Duration Millis    `json:"duration_ms"`
}

// Summary is how a run ended.
type Summary struct {
	Run      string       `json:"run"`            // ID of the run
	Name     string       `json:"name,omitempty"` // name of the pipeline
	Status   Status       `json:"status"`
	ExitCode int          `json:"exit_code"`
	Error    string       `json:"error,omitempty"`
	Duration Millis       `json:"duration_ms"`
	Steps    []StepResult `json:"steps"` // services first, then steps, in the order of the file
}

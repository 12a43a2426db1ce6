package woodpecker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stepexec/stepexec/event"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner/journal"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// textKilled is the error of a workflow whose runner ended without a word.
const textKilled = "the runner was killed"

// maxKept is the size of a workflow's file, in bytes, above which what the server has is
// dropped from it.
const maxKept = 4 << 20

// record is a line of a workflow's file. Each has one of the fields.
type record struct {
	Progress *progress           `json:"progress,omitempty"` // the first one
	Begun    bool                `json:"begun,omitempty"`    // the server knows that the workflow runs
	Line     *wire.LogEntry      `json:"line,omitempty"`
	Step     *wire.StepState     `json:"step,omitempty"`
	Sent     int                 `json:"sent,omitempty"` // number of further lines and steps that the server has
	Done     *wire.WorkflowState `json:"done,omitempty"`
}

// progress is how far a workflow has come.
type progress struct {
	ID      string          `json:"id"`
	Started int64           `json:"started"` // Unix time
	Begun   bool            `json:"begun"`
	Steps   []*stepProgress `json:"steps"` // in the order of the workflow
}

type stepProgress struct {
	UUID    string `json:"uuid"`
	Started int64  `json:"started"` // Unix time; 0: not yet
	Lines   int32  `json:"lines"`
	Ended   bool   `json:"ended"`
}

func newProgress(id string, started int64, config *workflows.Config) *progress {
	p := &progress{ID: id, Started: started}
	if config == nil {
		return p
	}
	for _, s := range config.Steps() {
		p.Steps = append(p.Steps, &stepProgress{UUID: s.UUID})
	}
	return p
}

// note takes a report into account.
func (p *progress) note(r report) {
	uuid := r.line.GetStepUuid() + r.step.GetStepUuid()
	i := slices.IndexFunc(p.Steps, func(s *stepProgress) bool { return s.UUID == uuid })
	if i < 0 {
		return
	}
	s := p.Steps[i]
	if r.line != nil {
		s.Lines++
		return
	}
	s.Started = max(s.Started, r.step.GetStarted())
	s.Ended = s.Ended || r.step.GetExited() || r.step.GetSkipped() || r.step.GetError() != ""
}

// kept is what an earlier runner has left of a workflow.
type kept struct {
	*progress
	queue []report // that the server may not have
	done  *wire.WorkflowState
}

func parseKept(records [][]byte) (*kept, error) {
	k := &kept{}
	for i, text := range records {
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, err
		}
		switch {
		case i == 0 && r.Progress != nil:
			k.progress = r.Progress
		case k.progress == nil || r.Progress != nil:
			return nil, errors.New("it does not begin with a workflow")
		case r.Line != nil || r.Step != nil:
			k.queue = append(k.queue, report{line: r.Line, step: r.Step})
			k.note(k.queue[len(k.queue)-1])
		case r.Sent > 0:
			k.queue = k.queue[min(r.Sent, len(k.queue)):]
		case r.Done != nil:
			k.done = r.Done
		default:
			k.Begun = k.Begun || r.Begun
		}
	}
	if k.progress == nil || k.ID == "" {
		return nil, errors.New("it is empty")
	}
	return k, nil
}

// file makes the file of the workflow that the next poll brings. It is made before the poll, because the
// server gives the workflow to nobody else from its answer on: a single write is left between the answer
// and what a killed runner can know. Without a file, reports wait in memory only.
func (a *agent) file() *journal.Entry {
	if a.journal == nil {
		return nil
	}
	entry, err := a.journal.Begin("poll " + rand.Text())
	if err != nil {
		a.o.Say(fmt.Sprintf("warning: %v; results of the next workflow are lost when the runner is killed", err))
		return nil
	}
	return entry
}

// release ends the file of a workflow. It stays where the server has not heard everything.
func (a *agent) release(id string, entry *journal.Entry, told bool) {
	end := entry.Remove
	if !told {
		end = entry.Close
		if entry != nil {
			a.o.Say(fmt.Sprintf("workflow %s: the server has not heard everything; the rest is kept for the next start of the runner", id))
		}
	}
	if err := end(); err != nil {
		a.o.Say(fmt.Sprintf("warning: workflow %s: %v", id, err))
	}
}

// deliver reports what earlier runners have left. A workflow that ran when its runner was
// killed ends with an error.
func (a *agent) deliver(ctx context.Context) {
	if a.journal == nil {
		return
	}
	left, err := a.journal.Left()
	if err != nil {
		a.o.Say("warning: " + err.Error())
	}
	for _, l := range left {
		k, err := parseKept(l.Records)
		if err != nil {
			a.o.Say("warning: the kept results of a workflow cannot be read: " + err.Error())
			a.release("", l.Entry, true)
			continue
		}
		a.deliverOne(ctx, k, l.Entry)
	}
}

func (a *agent) deliverOne(ctx context.Context, k *kept, entry *journal.Entry) {
	told := false
	defer func() { a.release(k.ID, entry, told) }()
	if ctx.Err() != nil || !a.running.Begin(k.ID) {
		return
	}
	defer a.running.End(k.ID)
	if !k.Begun {
		state := &wire.WorkflowState{Started: k.Started}
		if _, err := call(ctx, a.client, prompt, wire.Init, &wire.InitRequest{Id: k.ID, State: state}); err != nil {
			told = !undelivered(ctx, err)
			return
		}
		entry.Add(record{Begun: true})
	}
	b := a.life.Begin("workflow " + k.ID)
	defer b.End()
	box := newOutbox(ctx, a, b, k.progress, entry, k.queue)
	if k.done == nil {
		k.done = k.killed(box.put)
	}
	entry.Add(record{Done: k.done})
	entry.Sync()
	if err := box.close(); err != nil || box.stuck {
		return
	}
	told = a.finish(ctx, k.ID, k.done)
	if told {
		a.o.Say(fmt.Sprintf("workflow %s: the server has what an earlier runner had left (%s)", k.ID, ended(k.done, false)))
		a.stats.BuildEnded(ended(k.done, false))
	}
}

// killed reports the steps that had not ended, and returns the end of the workflow.
func (p *progress) killed(put func(report)) *wire.WorkflowState {
	now := time.Now().Unix()
	for _, s := range slices.Clone(p.Steps) {
		started := s.Started
		switch {
		case s.Ended:
		case started == 0:
			put(report{step: &wire.StepState{StepUuid: s.UUID, Skipped: true}})
		default:
			put(report{line: &wire.LogEntry{StepUuid: s.UUID, Line: s.Lines, Time: max(0, now-started), Data: []byte("stepexec: " + textKilled)}})
			put(report{step: &wire.StepState{
				StepUuid: s.UUID, Started: started, Finished: max(now, started), Exited: true, ExitCode: event.CodeError, Error: textKilled,
			}})
		}
	}
	return &wire.WorkflowState{Started: p.Started, Finished: max(now, p.Started), Error: textKilled}
}

// undelivered reports whether a call failed although the server has not said its last word.
func undelivered(ctx context.Context, err error) bool {
	return errors.Is(err, errGaveUp) || ctx.Err() != nil
}

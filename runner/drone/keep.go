package drone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stepexec/stepexec/runner/journal"
)

// textKilled is the error of a stage whose runner ended without a word.
const textKilled = "the runner was killed"

// record is a line of the file of a stage or of a step.
type record struct {
	Stage *stage `json:"stage,omitempty"` // as the server last answered it, the first time as it was offered
	Done  *stage `json:"done,omitempty"`  // the end of the stage, which the server may not have

	Step     *step      `json:"step,omitempty"` // as the server last answered it
	Began    *time.Time `json:"began,omitempty"`
	Line     *line      `json:"line,omitempty"`
	End      *keptEnd   `json:"end,omitempty"`
	Reported bool       `json:"reported,omitempty"` // the server has the end of the step
}

// keptEnd is an ending.
type keptEnd struct {
	Status string    `json:"status"`
	Text   string    `json:"text"`
	Code   int       `json:"code"`
	When   time.Time `json:"when"`
}

// keep begins a file. Without a file, reports wait in memory only.
func (w *worker) keep(name string, first record) *journal.Entry {
	if w.journal == nil {
		return nil
	}
	entry, err := w.journal.Begin(name)
	if err != nil {
		w.o.Say(fmt.Sprintf("warning: %s: %v; its results are lost when the runner is killed", name, err))
		return nil
	}
	entry.Add(first)
	entry.Sync()
	return entry
}

func stageFile(id int64) string { return fmt.Sprintf("stage %d", id) }
func stepFile(id int64) string  { return fmt.Sprintf("step %d", id) }

// release ends files. They stay where the server has not heard everything.
func (w *worker) release(s *stage, told bool, entries ...*journal.Entry) {
	var errs []error
	waits := false
	for _, entry := range entries {
		if waits = waits || entry != nil; told {
			errs = append(errs, entry.Remove())
		} else {
			errs = append(errs, entry.Close())
		}
	}
	if !told && waits {
		w.o.Say(fmt.Sprintf("stage %d: the server has not heard everything; the rest is kept for the next start of the runner", s.ID))
	}
	if err := errors.Join(errs...); err != nil {
		w.o.Say(fmt.Sprintf("warning: stage %d: %v", s.ID, err))
	}
}

// undelivered reports whether a call failed although the server has not said its last word.
func undelivered(ctx context.Context, err error) bool {
	return err != nil && (errors.Is(err, errGaveUp) || ctx.Err() != nil)
}

// keptStage is what an earlier runner has left of a stage.
type keptStage struct {
	stage, done *stage
	entry       *journal.Entry
	hasRoom     bool // among the stages that run
}

// mayRun reports whether the stage was not begun.
func (k *keptStage) mayRun() bool { return k.done == nil && len(k.stage.Steps) == 0 }

// keptStep is what an earlier runner has left of a step.
type keptStep struct {
	log      *stepLog
	reported bool
}

// keptResults are what earlier runners have left.
type keptResults struct {
	stages []*keptStage
	steps  map[int64]*keptStep // by the number of the step
}

// left reads what earlier runners have left.
func (w *worker) left() *keptResults {
	k := &keptResults{steps: map[int64]*keptStep{}}
	if w.journal == nil {
		return k
	}
	left, err := w.journal.Left()
	if err != nil {
		w.o.Say("warning: " + err.Error())
	}
	for _, l := range left {
		stage, step, err := w.parseKept(l)
		switch {
		case err != nil:
			w.o.Say("warning: kept results cannot be read: " + err.Error())
			if err := l.Remove(); err != nil {
				w.o.Say("warning: " + err.Error())
			}
		case stage != nil:
			w.running.Begin(stage.stage.ID)
			if stage.mayRun() {
				stage.hasRoom = w.tryRoom()
			}
			k.stages = append(k.stages, stage)
		default:
			k.steps[step.log.step.ID] = step
		}
	}
	return k
}

// deliver reports what earlier runners have left. A stage that ran when its runner was killed
// ends with an error. One that was not begun may be begun now.
func (w *worker) deliver(ctx context.Context, k *keptResults) {
	for _, s := range k.stages {
		if s.mayRun() {
			w.stages.Go(func() { w.resume(ctx, s) })
			continue
		}
		w.deliverStage(ctx, s, k.steps)
		w.running.End(s.stage.ID)
	}
	for _, s := range k.steps { // of no stage that is left
		if err := s.log.kept.Remove(); err != nil {
			w.o.Say("warning: " + err.Error())
		}
	}
}

// resume runs a stage that an earlier runner was killed too early to begin, if it is this runner's or
// nobody's yet, when there is room. If ctx ends before, it stays for the next start.
func (w *worker) resume(ctx context.Context, k *keptStage) {
	defer w.running.End(k.stage.ID)
	defer func() {
		if k.hasRoom {
			<-w.room
		}
	}()
	s, err := w.client.claim(ctx, k.stage, w.o.Name)
	if err != nil {
		w.deliverStage(ctx, k, nil)
		return
	}
	k.entry.Add(record{Stage: s})
	if !k.hasRoom {
		select {
		case w.room <- struct{}{}:
			k.hasRoom = true
		case <-ctx.Done():
			w.release(s, false, k.entry)
			return
		}
	}
	w.o.Say(fmt.Sprintf("stage %d: an earlier runner was killed before it began; it runs now", s.ID))
	w.runAccepted(s, k.entry)
}

// tryRoom takes room for a stage if there is any, and reports whether there was. Stages of an
// earlier runner do so before the first poll, which would keep the only room for half a minute.
func (w *worker) tryRoom() bool {
	select {
	case w.room <- struct{}{}:
		return true
	default:
		return false
	}
}

func (w *worker) parseKept(l journal.Left) (*keptStage, *keptStep, error) {
	s, p := &keptStage{entry: l.Entry}, &keptStep{}
	for _, text := range l.Records {
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, nil, err
		}
		if r.Stage != nil {
			s.stage = r.Stage
		}
		if r.Done != nil {
			s.stage, s.done = r.Done, r.Done
		}
		if r.Step != nil && p.log == nil {
			p.log = newStepLog(w, r.Step)
		}
		if p.log == nil {
			continue
		}
		p.reported = p.reported || r.Reported
		p.log.replay(r)
	}
	switch {
	case s.stage != nil:
		return s, nil, nil
	case p.log != nil:
		p.log.kept = l.Entry
		return nil, p, nil
	}
	return nil, nil, errors.New("it is empty")
}

// replay does what a record tells.
func (l *stepLog) replay(r record) {
	switch {
	case r.Step != nil:
		l.step = r.Step
	case r.Began != nil:
		l.began = *r.Began
	case r.Line != nil:
		l.lines = append(l.lines, *r.Line)
		l.bytes += len(r.Line.Out)
		l.next = r.Line.Pos + 1
		l.dropped = l.dropped || len(l.lines) == 1 && r.Line.Pos > 0
	case r.End != nil && !l.isFinished():
		l.finish(ending{status: r.End.Status, text: r.End.Text, code: r.End.Code, when: r.End.When})
	}
}

func (w *worker) deliverStage(ctx context.Context, k *keptStage, steps map[int64]*keptStep) {
	entries, told := []*journal.Entry{k.entry}, false
	defer func() { w.release(k.stage, told, entries...) }()
	var mine []*keptStep
	for i, known := range k.stage.Steps {
		p := steps[known.ID]
		if p == nil {
			p = &keptStep{log: newStepLog(w, known)}
		}
		delete(steps, known.ID)
		entries = append(entries, p.log.kept)
		k.stage.Steps[i] = p.log.step
		mine = append(mine, p)
	}
	now, err := w.client.details(ctx, k.stage.ID)
	if err != nil {
		told = !undelivered(ctx, err)
		w.o.Say(fmt.Sprintf("warning: stage %d: its end cannot be reported: %v", k.stage.ID, err))
		return
	}
	if status := now.Stage.Status; status != statusPending && status != statusRunning || now.Stage.Machine != w.o.Name {
		told = true // it has ended, or is another runner's
		return
	}
	for _, p := range mine {
		if p.reported {
			continue
		}
		if !p.log.isFinished() {
			k.done = nil // its own end came later than the last that could be written of the step
			p.log.endKilled()
		}
		p.log.again = true
		if p.log.send(ctx); p.log.stuck.Load() {
			return
		}
	}
	s := k.stage
	s.Version = now.Stage.Version
	if k.done == nil {
		s.Status, s.Error, s.Stopped = statusError, textKilled, time.Now().Unix()
		if s.Started == 0 {
			s.Started = s.Stopped
		}
	}
	err = w.client.updateStage(ctx, s)
	if undelivered(ctx, err) {
		return
	}
	told = true
	if err != nil {
		w.o.Say(fmt.Sprintf("warning: stage %d: the server rejected the stage's result (%s): %v", s.ID, s.Status, err))
		return
	}
	w.o.Say(fmt.Sprintf("stage %d: the server has what an earlier runner had left (%s)", s.ID, s.Status))
	w.stats.BuildEnded(s.Status)
}

// endKilled ends a step that had not ended when its runner was killed.
func (l *stepLog) endKilled() {
	if l.began.IsZero() {
		l.finish(ending{status: statusSkipped, when: time.Now()})
		return
	}
	l.add("stepexec: " + textKilled + "\n")
	l.finish(ending{status: statusError, code: codeError, text: textKilled, when: time.Now()})
}

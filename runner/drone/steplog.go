package drone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// maxLog is how much of a step's log is kept: its end.
	maxLog = 5 << 20
	slack  = 1 << 20 // by which it may be more, so that not every line moves all others
	// livePeriod is between two batches for who is looking.
	livePeriod = time.Second
	maxLive    = 1 << 20 // bytes that wait for the next batch
)

// ending is how a step ended.
type ending struct {
	status, text string
	code         int
	when         time.Time
}

// stepLog is what a step has printed, and what the server is to know of it. Its goroutine
// reports the start, then lines as they come, then all of the log, then the end: the log is
// complete before that.
type stepLog struct {
	w     *worker
	step  *step
	began time.Time // written before the goroutine begins

	mu      sync.Mutex
	lines   []line
	bytes   int
	next    int // position of the next line
	live    int // position of the first that no batch has had
	dropped bool
	end     ending
	ended   chan struct{} // closed once end is final
}

func newStepLog(w *worker, s *step) *stepLog {
	return &stepLog{w: w, step: s, ended: make(chan struct{})}
}

// begin reports whether this is the first attempt at the step.
func (l *stepLog) begin(when time.Time) bool {
	if !l.began.IsZero() {
		return false
	}
	l.began = when
	return true
}

// add adds a line, and drops the first ones when there is too much.
func (l *stepLog) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := line{Pos: l.next, Out: text}
	if !l.began.IsZero() {
		entry.Time = int64(time.Since(l.began).Seconds())
	}
	l.next++
	l.lines = append(l.lines, entry)
	l.bytes += len(text)
	if l.bytes > maxLog+slack {
		l.trim()
	}
}

// trim drops the first lines until the rest is no more than maxLog.
func (l *stepLog) trim() {
	drop := 0
	for l.bytes > maxLog && drop < len(l.lines)-1 {
		l.bytes -= len(l.lines[drop].Out)
		drop++
	}
	if drop > 0 {
		l.lines, l.dropped = append([]line(nil), l.lines[drop:]...), true
	}
}

func (l *stepLog) finish(end ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = end
	close(l.ended)
}

func (l *stepLog) isFinished() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// fresh are the lines that no batch has had.
func (l *stepLog) fresh() []line {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fresh []line
	bytes := 0
	for i := len(l.lines) - 1; i >= 0 && l.lines[i].Pos >= l.live && bytes < maxLive; i-- {
		bytes += len(l.lines[i].Out)
		fresh = l.lines[i:]
	}
	l.live = l.next
	return append([]line(nil), fresh...)
}

// all are the lines that are kept, numbered anew, with a note where there were more.
func (l *stepLog) all() []line {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	kept := make([]line, 0, len(l.lines)+1)
	if l.dropped {
		kept = append(kept, line{Out: fmt.Sprintf("stepexec: the log is longer than %d MiB; this is the end of it\n", maxLog>>20)})
	}
	kept = append(kept, l.lines...)
	for i := range kept {
		kept[i].Pos = i
	}
	return kept
}

// send reports the step from its start to its end. Errors are no reason to stop: the run
// goes on, and its end is reported in any case.
func (l *stepLog) send() {
	ctx := l.w.life
	if !l.began.IsZero() {
		l.step.Status, l.step.Started = statusRunning, l.began.Unix()
		l.report(ctx)
		l.sendLive(ctx)
	}
	<-l.ended
	if lines := l.all(); len(lines) > 0 {
		if l.began.IsZero() { // the log is opened by a step that begins
			l.step.Status, l.step.Started = statusRunning, l.end.when.Unix()
			l.report(ctx)
		}
		if err := l.w.client.upload(ctx, l.step.ID, lines); err != nil {
			l.w.o.Say(fmt.Sprintf("warning: step %d: the server does not take the log: %v", l.step.ID, err))
		}
	}
	s := l.step
	s.Status, s.ExitCode, s.Error, s.Stopped = l.end.status, l.end.code, "", l.end.when.Unix()
	if l.end.text != "" && l.end.status != statusSuccess {
		s.Error = short(l.end.text)
	}
	if s.Started == 0 {
		s.Started = s.Stopped
	}
	l.report(ctx)
}

func (l *stepLog) report(ctx context.Context) {
	status, stopped := l.step.Status, l.step.Stopped
	err := l.w.client.updateStep(ctx, l.step)
	l.step.Status, l.step.Stopped = status, stopped // the stage is told what was, whatever the server has answered
	if err != nil && !errors.Is(err, errConflict) {
		l.w.o.Say(fmt.Sprintf("warning: step %d: the server does not take that it is %s: %v", l.step.ID, status, err))
	}
}

// sendLive sends what comes, until the step ends.
func (l *stepLog) sendLive(ctx context.Context) {
	ticker := time.NewTicker(livePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.ended:
			return
		case <-ctx.Done():
			return
		}
		if lines := l.fresh(); len(lines) > 0 {
			_ = l.w.client.sendLines(ctx, l.step.ID, lines) // the upload has them all
		}
	}
}

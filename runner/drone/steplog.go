package drone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepexec/stepexec/runner/journal"
)

const (
	// maxLog bounds what is kept of a step's log, in bytes: its end is kept.
	maxLog = 5 << 20
	slack  = 1 << 20 // bytes above maxLog before the log is trimmed, so that not every line moves all others
	// livePeriod is the time between two batches for those who watch.
	livePeriod = time.Second
	maxLive    = 1 << 20 // bytes of the next batch
)

// ending is how a step ended.
type ending struct {
	status, text string
	code         int
	when         time.Time
}

// stepLog is the output of a step and the state that the server shows. Its goroutine reports
// the start, then lines as they come, then the whole log, then the end: the log is complete
// before the server knows that the step has ended.
type stepLog struct {
	w     *worker
	step  *step
	began time.Time // written before the goroutine begins
	kept  *journal.Entry
	cards cards       // of the reporter, until the step has ended
	again bool        // an earlier runner may have made calls whose answers are not known
	stuck atomic.Bool // the server has not got everything, and may get it later

	mu      sync.Mutex
	shown   *step // as the server last answered it
	lines   []line
	bytes   int
	next    int // position of the next line
	live    int // position of the first line that no batch has had
	dropped bool
	end     ending
	ended   chan struct{} // closed once end is final
}

func newStepLog(w *worker, s *step) *stepLog {
	shown := *s
	return &stepLog{w: w, step: s, shown: &shown, ended: make(chan struct{})}
}

// begin notes the start of a step, and reports whether this is its first attempt.
func (l *stepLog) begin(when time.Time) bool {
	if !l.began.IsZero() {
		return false
	}
	l.began = when
	l.kept.Add(record{Began: &when})
	return true
}

// add adds a line. It drops the first lines when the log is too long.
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
	if l.bytes <= maxLog+slack {
		l.kept.Add(record{Line: &entry})
		return
	}
	l.trim()
	rest := []any{record{Step: l.shown}, record{Began: &l.began}}
	for i := range l.lines {
		rest = append(rest, record{Line: &l.lines[i]})
	}
	l.kept.Replace(rest...)
}

// addLines adds each line of a text.
func (l *stepLog) addLines(text string) {
	for line := range strings.Lines(text) {
		l.add(line)
	}
}

// trim drops the first lines until the others have at most maxLog bytes.
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
	l.kept.Add(record{End: &keptEnd{Status: end.status, Text: end.text, Code: end.code, When: end.when}})
	l.kept.Sync()
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

// fresh returns the lines that no batch has had.
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

// all returns the kept lines, numbered from 0, after a note when lines were dropped.
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

// send reports the step from its start to its end. It goes on after errors: the run goes on,
// too, and the end of the step must be reported.
func (l *stepLog) send(ctx context.Context) {
	if !l.began.IsZero() {
		l.step.Status, l.step.Started = statusRunning, l.began.Unix()
		l.report(ctx)
		l.sendLive(ctx)
	}
	<-l.ended
	if lines := l.all(); len(lines) > 0 {
		if l.began.IsZero() { // the server opens a log only for a step that has begun
			l.step.Status, l.step.Started = statusRunning, l.end.when.Unix()
			l.report(ctx)
		}
		lost, err := l.w.client.upload(ctx, l.step.ID, lines)
		switch {
		case undelivered(ctx, err):
			l.stuck.Store(true)
		case err == nil:
			l.w.stats.LinesSent(len(lines) - lost)
			l.w.stats.LinesLost(lost)
		default:
			l.w.stats.LinesLost(len(lines))
			l.w.o.Say(fmt.Sprintf("warning: step %d: the server rejected the log: %v", l.step.ID, err))
		}
	}
	if l.cards.last != nil && !l.stuck.Load() {
		if err := l.w.client.sendCard(ctx, l.step.ID, l.cards.last); err != nil {
			l.w.o.Say(fmt.Sprintf("warning: step %d: the server did not take its card: %v", l.step.ID, err))
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
	if l.report(ctx); !l.stuck.Load() {
		l.kept.Add(record{Reported: true})
	}
}

func (l *stepLog) report(ctx context.Context) {
	if l.stuck.Load() {
		return // what follows would be out of order
	}
	status, stopped := l.step.Status, l.step.Stopped
	err := l.w.client.updateStep(ctx, l.step)
	if l.again && errors.Is(err, errConflict) {
		l.step.Version++
		err = l.w.client.updateStep(ctx, l.step)
	}
	if undelivered(ctx, err) {
		l.stuck.Store(true)
		return
	}
	l.step.Status, l.step.Stopped = status, stopped // the stage reports these, whatever the server answered
	l.mu.Lock()
	shown := *l.step
	l.shown = &shown
	l.kept.Add(record{Step: &shown})
	l.mu.Unlock()
	if err != nil && !errors.Is(err, errConflict) {
		l.w.o.Say(fmt.Sprintf("warning: step %d: the server rejected the status %s: %v", l.step.ID, status, err))
	}
}

// sendLive sends new lines until the step ends.
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
		if lines := l.fresh(); len(lines) > 0 && !l.stuck.Load() {
			_ = l.w.client.sendLines(ctx, l.step.ID, lines) // the upload has all lines
		}
	}
}

package ui

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/sandbox"
)

const (
	mostViews    = 16          // runs that are open at once
	viewLogBytes = 24 << 20    // compressed logs of each: 100 MB and more of what builds print
	idleTime     = time.Minute // how long a run stays open that nobody looks at
)

var errTooManyViews = errors.New("too many runs are open: close some pages, or wait for a minute")

// views are the runs that are open.
type views struct {
	root, flags string
	ending      context.Context
	work        *sync.WaitGroup

	mu   sync.Mutex // guards the rest, and users and used of each view
	open map[string]*view
}

// view is a run that is open: its record is read once for all pages that show it, and followed while the run
// goes on.
type view struct {
	record record.Record
	flags  string
	close  context.CancelFunc
	ready  chan struct{} // closed when what there was at first has been read

	users int       // pages that are using it; guarded by views
	used  time.Time // when the last one ended; guarded by views

	mu        sync.Mutex // guards the rest, and the logs of reports that collector has made
	collector *report.Collector
	earlier   []event.Earlier // runs of the pipeline
	version   int             // grows with everything but lines
	over      bool            // nothing more comes
	err       error           // why the record could not be read to its end
	changed   chan struct{}   // closed when something has come
}

// use opens the run of a record, unless it is open already. Call done when it is not used any more.
func (v *views) use(r record.Record) (one *view, done func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one = v.open[r.Run]
	if one == nil {
		if len(v.open) >= mostViews && !v.closeOldest() {
			return nil, nil, errTooManyViews
		}
		if one, err = v.start(r); err != nil {
			return nil, nil, err
		}
		v.open[r.Run] = one
	}
	one.users++
	return one, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		one.users--
		one.used = time.Now()
	}, nil
}

// start begins to read a record.
func (v *views) start(r record.Record) (*view, error) {
	log, err := r.OpenLog()
	if err != nil {
		return nil, err
	}
	size, err := log.Size()
	if err := errors.Join(err, log.Close()); err != nil {
		return nil, err
	}
	one := &view{record: r, flags: v.flags, ready: make(chan struct{}), collector: report.NewCollector(viewLogBytes), changed: make(chan struct{})}
	one.collector.Plan(r.Run, r.Run, r.Name, r.Started, r.Plan())
	ctx, cancel := context.WithCancel(v.ending)
	one.close = cancel
	v.work.Go(func() {
		defer cancel()
		if err := crash.Catch(func() { one.read(ctx, v.root, size) }); err != nil {
			one.finish(err)
		}
	})
	return one, nil
}

// closeIdle closes the views that nobody has used for a while.
func (v *views) closeIdle() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, one := range v.open {
		if one.users == 0 && time.Since(one.used) > idleTime {
			v.drop(id)
		}
	}
}

// closeOldest closes the view that was not used for the longest time, if there is one that nobody uses.
func (v *views) closeOldest() bool {
	oldest := ""
	for id, one := range v.open {
		if one.users == 0 && (oldest == "" || one.used.Before(v.open[oldest].used)) {
			oldest = id
		}
	}
	if oldest == "" {
		return false
	}
	v.drop(oldest)
	return true
}

func (v *views) drop(id string) {
	v.open[id].close()
	delete(v.open, id)
}

// read reads the record and follows it. size is the size of the log at first.
func (v *view) read(ctx context.Context, root string, size int64) {
	recent := record.Recent(root)
	earlier := record.Past(root, recent, v.record.Run, report.MostPast)
	v.mu.Lock()
	v.earlier = earlier
	v.mu.Unlock()
	live := func() bool {
		now, err := sandbox.LiveIDs(root)
		return err == nil && now[v.record.Run]
	}
	follow := live
	if v.record.Finished || !live() {
		follow = nil
	}
	var read int64
	caughtUp := sync.OnceFunc(func() { close(v.ready) })
	defer caughtUp()
	if size == 0 {
		caughtUp()
	}
	err := v.record.ReadLog(ctx, follow, func(line []byte) error {
		e, err := record.Decode(line)
		if err != nil {
			return err
		}
		v.take(e)
		if read += int64(len(line)); read >= size {
			caughtUp()
		}
		return ctx.Err()
	})
	v.finish(err)
}

func (v *view) take(e event.Event) {
	e.Cell = v.record.Run // lines of a log have no cell, because all are of the same run
	if e.Kind == event.StepKept {
		e.Text += v.flags
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.collector.Event(e)
	if e.Kind != event.Line {
		v.version++
	}
	v.tell()
}

func (v *view) finish(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over, v.err = true, err
	v.version++
	v.tell()
}

// tell wakes those who wait for something to come.
func (v *view) tell() {
	if v.changed != nil {
		close(v.changed)
		v.changed = nil // lines are many: there is a new one only when somebody waits
	}
}

// state is what a page needs to know of a run that goes on.
type state struct {
	Version int              `json:"version"`
	Over    bool             `json:"over"`
	Logs    map[string][]int `json:"logs,omitempty"` // by step: number of its first new piece, and the lines of the pieces since
}

// state returns what differs from what was sent, adds it to that, and returns a channel that is closed when
// something comes.
func (v *view) state(sent map[int][]int) (state, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := state{Version: v.version, Over: v.over, Logs: map[string][]int{}}
	for i, pieces := range v.pieces() {
		if same := common(sent[i], pieces); same < max(len(pieces), len(sent[i])) {
			s.Logs[fmt.Sprint(i)] = append([]int{same}, pieces[same:]...)
			sent[i] = pieces
		}
	}
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return s, v.changed
}

// common is the number of elements that two slices begin with.
func common(a, b []int) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// pieces are the pieces of the logs of all steps. The view is locked.
func (v *view) pieces() (all [][]int) {
	for _, r := range v.collector.Now().Runs {
		for _, s := range r.Steps {
			all = append(all, s.Log.Pieces())
		}
	}
	return all
}

// page returns what a page shows of the run, the pieces of its logs and the version of both.
func (v *view) page() (p report.Page, pieces [][]int, version int, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	made := v.collector.Now()
	if v.over {
		made.MarkDied(func(string) bool { return false })
	}
	for _, r := range made.Runs {
		r.AddPast(v.earlier)
	}
	return report.PageOf(made), v.pieces(), v.version, v.err
}

// piece returns the piece of a step's log that begins with a line; nil: there is none.
func (v *view) piece(step, first int) (data []byte, compressed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.collector.Now().Runs {
		if step >= 0 && step < len(r.Steps) {
			return r.Steps[step].Log.Piece(first)
		}
		step -= len(r.Steps)
	}
	return nil, false
}

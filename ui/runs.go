package ui

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
)

const (
	mostRuns = 5000        // records that are listed, the last written ones
	mostLive = 200         // live runs whose logs are read for what they do now
	freshFor = time.Second // how long a look at the runs is good for
)

// listedRun is what is listed of a run.
type listedRun struct {
	record.Record // without plan and summary, which can be large
	Status        event.Status
	Duration      event.Millis
	Planned       int      // steps, without services
	Ended         int      // steps and services that have ended, of a live run
	Running       []string // steps and services that run now
	Unrecorded    bool     // a live run without a record: only its id and its user are known

	written time.Time // of its record
}

// runs are the runs of a state root, as they were at the last look. Records are read again only when they
// have changed.
type runs struct {
	root string

	mu       sync.Mutex // guards the rest
	known    map[string]*listedRun
	live     map[string]*progress
	listed   []listedRun // the newest first
	err      error       // why they cannot be listed, or not all
	looked   time.Time
	version  int           // grows when something has changed
	changed  chan struct{} // closed when something changes
	watchers int
}

func newRuns(root string) *runs {
	return &runs{root: root, known: map[string]*listedRun{}, live: map[string]*progress{}, changed: make(chan struct{})}
}

// list returns the runs as they are now.
func (l *runs) list() (all []listedRun, version int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked) > freshFor {
		l.lookLocked()
	}
	return l.listed, l.version, l.err
}

// watch counts a watcher until the returned function is called.
func (l *runs) watch() (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watchers--
	}
}

func (l *runs) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watchers > 0
}

// now returns the version of the runs, and a channel that is closed when they change.
func (l *runs) now() (version int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version, l.changed
}

// look looks at the runs again.
func (l *runs) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookLocked()
}

func (l *runs) lookLocked() {
	before, errBefore := l.listed, fmt.Sprint(l.err)
	l.listed, l.err = nil, l.readRecords()
	isLive := map[string]bool{}
	live, err := sandbox.ListLive(l.root)
	if l.err == nil {
		l.err = err
	}
	for _, one := range live {
		isLive[one.ID] = true
		if l.known[one.ID] == nil {
			l.listed = append(l.listed, listedRun{
				Record: record.Record{Run: one.ID, User: run.UserName(one.UID)}, Status: event.Running, Unrecorded: true,
			})
		}
	}
	for _, r := range l.known {
		now := *r
		if r.Status == "" {
			now.Status = report.Died
			if isLive[r.Run] {
				l.follow(&now)
			}
		}
		l.listed = append(l.listed, now)
	}
	slices.SortFunc(l.listed, func(a, b listedRun) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.Run, b.Run))
	})
	for id, p := range l.live {
		if !isLive[id] || l.known[id] == nil {
			p.close()
			delete(l.live, id)
		}
	}
	l.looked = time.Now()
	if !slices.EqualFunc(before, l.listed, sameRun) || errBefore != fmt.Sprint(l.err) {
		l.version++
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func sameRun(a, b listedRun) bool {
	return a.Run == b.Run && a.written.Equal(b.written) && a.Status == b.Status && a.Ended == b.Ended && slices.Equal(a.Running, b.Running)
}

// readRecords brings known up to date. One that cannot be read is left out: the error names the last one.
func (l *runs) readRecords() (failed error) {
	entries, err := record.Entries(l.root)
	if err != nil {
		l.known = map[string]*listedRun{}
		return err
	}
	now := map[string]*listedRun{}
	for _, entry := range entries[:min(len(entries), mostRuns)] {
		if old := l.known[entry.Run]; old != nil && old.written.Equal(entry.Written) {
			now[entry.Run] = old
			continue
		}
		r, err := entry.Read()
		if err != nil {
			failed = err
			continue
		}
		r.Run = entry.Run // whatever the file says: it names the folder
		now[entry.Run] = newRun(r, entry.Written)
	}
	l.known = now
	return failed
}

func newRun(r record.Record, written time.Time) *listedRun {
	listed := &listedRun{Record: r, written: written}
	for _, s := range r.Steps {
		if !s.Service {
			listed.Planned++
		}
	}
	if r.Summary != nil {
		listed.Status, listed.Duration = r.Summary.Status, r.Summary.Duration
	}
	listed.Steps, listed.Summary = nil, nil
	return listed
}

// follow adds what a live run does now.
func (l *runs) follow(r *listedRun) {
	r.Status = event.Running
	p := l.live[r.Run]
	if p == nil && len(l.live) < mostLive {
		log, err := r.OpenLog()
		if err != nil {
			return // it has just been removed
		}
		p = &progress{log: log}
		l.live[r.Run] = p
	}
	if p != nil {
		p.read()
		r.Ended, r.Running = p.ended, slices.Clone(p.running)
	}
}

func (l *runs) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.live {
		p.close()
		delete(l.live, id)
	}
}

// progress is how far a live run has come, by its log.
type progress struct {
	log     *record.LogReader
	ended   int
	running []string
}

// read reads what has come since the last time. A line that cannot be read tells nothing.
func (p *progress) read() {
	_, _ = p.log.Read(func(line []byte) error {
		if record.IsKind(line, event.StepFinished) {
			p.ended++
		}
		p.running, _ = record.StillRunning(p.running, line)
		return nil
	})
}

func (p *progress) close() { _ = p.log.Close() } // it was only read

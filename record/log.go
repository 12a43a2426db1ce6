package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/stepexec/stepexec/event"
)

const (
	// queueBytes is how much of the log may wait for the disk.
	queueBytes = 4 << 20
	// defaultPatience is how long a step's output is held up by a disk that does not
	// keep up, once each time that it falls behind; then lines are left out.
	defaultPatience = time.Second
	// batchBytes and batchTime are how many bytes of lines, and how long, are
	// gathered to be written at once. On two cores 100 MB of output took 0.4 s
	// more than without a record; with each line written by itself 0.75 s.
	batchBytes = 256 << 10
	batchTime  = 20 * time.Millisecond
)

// log writes to a file without making those wait who add to it.
type log struct {
	file     *os.File
	patience time.Duration
	left     int64         // bytes that lines may still have; -1: no bound
	work     chan struct{} // holds one when there is something to write, closed at the end
	soon     chan struct{} // holds one when lines are not to be gathered any longer
	room     chan struct{} // holds one when there may be room again
	done     chan struct{} // closed when all is written

	mu      sync.Mutex
	queue   []byte
	spare   []byte
	encoder event.LineEncoder
	lost    int  // lines that have found no room
	behind  bool // patience is at its end until something is written
	full    bool // the bound was reached
	failure error
}

func newLog(file *os.File, maxBytes int64) *log {
	l := &log{file: file, patience: defaultPatience, left: -1, work: make(chan struct{}, 1), soon: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{})}
	if maxBytes > 0 {
		l.left = maxBytes
	}
	go l.write() // ends with close
	return l
}

// add adds an event. Only lines can be left out: there are few of the others.
func (l *log) add(event []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tellLost()
	l.queue = append(l.queue, event...)
	signal(l.work)
	signal(l.soon)
}

// addLine adds a line of a step's output, unless there is no room for it.
func (l *log) addLine(e *event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full || l.failure != nil {
		return
	}
	if !l.hasRoom() {
		l.lost++
		return
	}
	waiting := len(l.queue)
	l.tellLost()
	before := len(l.queue)
	l.queue = l.encoder.Append(l.queue, e)
	if l.left >= 0 {
		if l.left -= int64(len(l.queue) - before); l.left < 0 {
			l.queue, l.full = l.queue[:before], true
			l.warn(*e, "the record has no more of the output: it has reached the limit for its size")
		}
	}
	if waiting == 0 {
		signal(l.work)
	}
	if waiting < batchBytes && len(l.queue) >= batchBytes {
		signal(l.soon)
	}
}

// hasRoom waits a little when the queue is full.
func (l *log) hasRoom() bool {
	if len(l.queue) < queueBytes {
		return true
	}
	if l.behind {
		return false
	}
	over := time.NewTimer(l.patience)
	defer over.Stop()
	for len(l.queue) >= queueBytes && l.failure == nil {
		l.mu.Unlock()
		select {
		case <-l.room:
			l.mu.Lock()
		case <-over.C:
			l.mu.Lock()
			l.behind = len(l.queue) >= queueBytes
			return !l.behind
		}
	}
	return l.failure == nil
}

// tellLost leaves a mark where lines are missing.
func (l *log) tellLost() {
	if l.lost == 0 {
		return
	}
	l.warn(event.Event{Time: time.Now()}, fmt.Sprintf("the record lacks %d lines here: the disk was too slow", l.lost))
	l.lost = 0
}

func (l *log) warn(at event.Event, text string) {
	data, err := json.Marshal(event.Event{Time: at.Time, Kind: event.Warning, Step: at.Step, Text: text})
	l.failure = errors.Join(l.failure, err)
	l.queue = append(append(l.queue, data...), '\n')
}

func (l *log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = errors.Join(l.failure, err)
}

// write writes what is queued, all at once, until close.
func (l *log) write() {
	defer close(l.done)
	gathered := time.NewTimer(batchTime)
	defer gathered.Stop()
	for range l.work {
		gathered.Reset(batchTime)
		select {
		case <-l.soon:
		case <-gathered.C:
		}
		l.mu.Lock()
		data := l.queue
		l.queue, l.spare = l.spare[:0], nil
		broken := l.failure != nil
		l.mu.Unlock()
		var err error
		if len(data) > 0 && !broken {
			_, err = l.file.Write(data)
		}
		l.mu.Lock()
		l.spare, l.behind = data, false
		l.failure = errors.Join(l.failure, err)
		l.mu.Unlock()
		signal(l.room)
	}
}

// close writes the rest and closes the file.
func (l *log) close() error {
	l.mu.Lock()
	l.tellLost()
	l.mu.Unlock()
	signal(l.work)
	signal(l.soon)
	close(l.work) // what it holds is still received
	<-l.done
	return errors.Join(l.failure, l.file.Close())
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}

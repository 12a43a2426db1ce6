package engine

import (
	"sync"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// maxQueued bounds the bytes of lines that wait for the listener. It bounds memory, and is large
// enough for steps and listener to work at the same time.
const maxQueued = 1 << 20

// feed hands events to the listener, one at a time and in order, from a goroutine of its own. A slow
// listener, such as a terminal that was stopped, slows the steps that print once maxQueued bytes
// wait. Steps that print nothing, or to files, go on, and nothing is lost.
type feed struct {
	to      func(*event.Event)
	flush   func() // called when nothing waits any more; may be nil
	done    chan struct{}
	mu      sync.Mutex // guards the rest
	changed sync.Cond
	queue   []queued
	bytes   int // bytes of the lines in the queue and with the listener
	closed  bool
	err     error // a panic of the listener, which is not called any more; final once done is closed
}

// queued is an event, or lines of one stream that become an event each.
type queued struct {
	event event.Event
	told  chan struct{} // closed in place of an event; nil: there is an event
	lines []logs.Line
	bytes int
}

// newFeed returns nil if nobody listens.
func newFeed(to func(*event.Event), flush func()) *feed {
	if to == nil {
		return nil
	}
	f := &feed{to: to, flush: flush, done: make(chan struct{})}
	f.changed.L = &f.mu
	go f.run() // ends with close
	return f
}

// put adds an event without waiting.
func (f *feed) put(e event.Event) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, queued{event: e})
	f.changed.Broadcast()
}

// putLines adds an event like e for each of the lines, once there is room.
func (f *feed) putLines(e event.Event, lines []logs.Line) {
	if f == nil {
		return
	}
	bytes := 0
	for _, line := range lines {
		bytes += len(line.Text) + 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.bytes > 0 && f.bytes+bytes > maxQueued {
		f.changed.Wait()
	}
	f.bytes += bytes
	f.queue = append(f.queue, queued{event: e, lines: lines, bytes: bytes})
	f.changed.Broadcast()
}

// settle waits until everything that was put before has been delivered.
func (f *feed) settle() {
	if f == nil {
		return
	}
	told := make(chan struct{})
	f.mu.Lock()
	f.queue = append(f.queue, queued{told: told})
	f.changed.Broadcast()
	f.mu.Unlock()
	<-told
}

func (f *feed) run() {
	defer close(f.done)
	var taken []queued
	for {
		f.mu.Lock()
		for len(f.queue) == 0 && !f.closed {
			f.changed.Wait()
		}
		if len(f.queue) == 0 {
			f.mu.Unlock()
			return
		}
		taken, f.queue = f.queue, taken[:0]
		f.mu.Unlock()
		for i := range taken {
			f.deliver(&taken[i])
		}
		f.protect(f.flush)
		clear(taken)
	}
}

func (f *feed) deliver(q *queued) {
	if q.told != nil {
		f.protect(f.flush)
		close(q.told)
		return
	}
	if q.lines == nil {
		f.protect(func() { f.to(&q.event) })
		return
	}
	f.protect(func() {
		for _, line := range q.lines {
			q.event.Text, q.event.Partial = line.Text, line.Partial
			f.to(&q.event)
		}
	})
	f.mu.Lock()
	f.bytes -= q.bytes
	f.changed.Broadcast()
	f.mu.Unlock()
}

// protect calls the listener. When it panics, it is not called again, and the run fails.
func (f *feed) protect(listener func()) {
	if listener == nil || f.err != nil {
		return
	}
	defer crash.Recover(&f.err)
	listener()
}

// close waits until everything has been delivered. The error is a panic of the listener.
func (f *feed) close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	f.closed = true
	f.changed.Broadcast()
	f.mu.Unlock()
	<-f.done
	return f.err
}

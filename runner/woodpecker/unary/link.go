package unary

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection, until its end.
type link struct {
	conn     *http.ClientConn
	answered atomic.Bool     // the server has answered a call on it
	retired  context.Context // ends when the server takes no more calls on the connection
	retire   context.CancelFunc
	watcher  sync.WaitGroup

	mu    sync.Mutex
	limit int // number of calls that the server takes at once, at the last look
	calls int // calls under way
}

// newLink returns a link with its first call under way. It ends with end, or once the server takes
// no more calls on it and those under way are done.
func newLink(conn *http.ClientConn) *link {
	l := &link{conn: conn, calls: 1}
	l.retired, l.retire = context.WithCancel(context.Background())
	l.watcher.Go(l.watch)
	return l
}

// watch retires the link as soon as the server takes no more calls.
func (l *link) watch() {
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	for {
		l.mu.Lock()
		open := l.takesCalls()
		l.mu.Unlock()
		if !open {
			return
		}
		select {
		case <-ticker.C:
		case <-l.retired.Done():
		}
	}
}

// takesCalls reports whether a new call may use the link, and retires it otherwise. A connection
// with as many calls as the server takes at once is as good as any: the call waits for its turn.
// The caller holds mu.
func (l *link) takesCalls() bool {
	available, underWay := l.conn.Available(), l.conn.InFlight()
	if available > 0 {
		l.limit = available + underWay
	}
	switch {
	case l.retired.Err() != nil:
		return false
	case available > 0, l.conn.Err() == nil && l.limit > 0 && underWay >= l.limit:
		return true
	}
	l.retire()
	if l.calls == 0 {
		_ = l.conn.Close() // nothing is lost with it
	}
	return false
}

// begin reports whether a new call may use the link; if so, the caller calls done.
func (l *link) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.takesCalls() {
		return false
	}
	l.calls++
	return true
}

func (l *link) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls--; l.calls == 0 && l.retired.Err() != nil {
		_ = l.conn.Close() // the last call has its answer
	}
}

// end closes the connection, and waits until nothing watches it.
func (l *link) end() {
	l.retire()
	_ = l.conn.Close() // nobody waits for an answer any more
	l.watcher.Wait()
}

package engine

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/stepexec/stepexec/event"
)

// turns bounds how many steps run at once. Of the steps that could run, the first in the
// file goes first.
type turns struct {
	mu      sync.Mutex // guards the rest, and the turn of every node
	free    int        // number of turns that are free
	waiting []*node    // in the order of the file
}

// turn is when a step may run, and what it waited for.
type turn struct {
	granted   chan struct{} // closed when the step may run
	asked     bool          // nothing that the step depends on stands in its way any more
	waitedFor string        // name of the node that the step waited for last
	eligible  time.Time     // when the step asked
	at        time.Time     // when the turn was granted
}

func newTurn() turn { return turn{granted: make(chan struct{})} }

// newTurns takes the nodes of a run in their order; limit 0 means no limit.
func newTurns(nodes []*node, limit int) *turns {
	if limit <= 0 {
		limit = math.MaxInt
	}
	t := &turns{free: limit}
	for _, n := range nodes {
		if !n.isBeside() && n.done == nil {
			t.waiting = append(t.waiting, n)
		}
	}
	return t
}

// ask asks for the turn of a step once nothing stands in its way any more. The turn must
// be given back by give. A detached step gets its turn at once, and gives nothing back: it
// runs beside the others.
func (t *turns) ask(n *node, waitedFor string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.turn.asked, n.turn.waitedFor, n.turn.eligible = true, waitedFor, time.Now()
	if n.step.Detach {
		close(n.turn.granted)
		return
	}
	t.grant()
}

// give ends the turn of a step.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	t.grant()
}

func (t *turns) grant() {
	for i := 0; i < len(t.waiting) && t.free > 0; {
		n := t.waiting[i]
		switch {
		case n.turn.asked:
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			t.free--
			n.turn.at = time.Now()
			close(n.turn.granted)
		case n.canAsk():
			return // it is about to ask, and comes before the steps after it
		default:
			i++
		}
	}
}

// canAsk reports whether everything that the node waits for is over.
func (n *node) canAsk() bool {
	for _, before := range n.before() {
		if !before.isOver() {
			return false
		}
	}
	return true
}

// await asks for a step's turn as soon as everything that it waits for is over.
func (r *run) await(n *node) {
	waitedFor := ""
	for _, before := range n.before() {
		if !before.isOver() {
			<-before.life.reached(before.over())
			waitedFor = before.step.Name // it was over last so far
		}
	}
	r.turns.ask(n, waitedFor)
}

// awaitTurn waits for a step's turn and finds out whether everything before it went well.
// The returned function ends the turn.
func (r *run) awaitTurn(n *node, serving context.Context) (end func()) {
	select {
	case <-n.turn.granted:
		n.result.WaitedFor, n.result.Eligible = n.turn.waitedFor, n.turn.eligible
	case <-serving.Done(): // only of a detached step; the others have all ended
	}
	failed := r.plan.StopOnFailure && r.hasFailed()
	for _, before := range n.before() {
		failed = failed || before.isOver() && before.life.hasFailed()
	}
	if failed {
		n.life.fail()
	}
	if n.step.Detach {
		return func() {}
	}
	queue := n.turn.at.Sub(n.turn.eligible)
	defer func() { n.result.Queue = event.Millis(queue.Truncate(time.Millisecond)) }()
	if r.o.Limits.Slots == nil {
		return r.turns.give
	}
	asked := time.Now()
	r.o.Limits.Slots <- struct{}{}
	queue += time.Since(asked)
	return func() {
		<-r.o.Limits.Slots
		r.turns.give()
	}
}

// hasFailed reports whether any step has made the run fail by now.
func (r *run) hasFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failed) > 0
}

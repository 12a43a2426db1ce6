package engine

import (
	"context"
	"github.com/stepexec/stepexec/event"
	"math"
	"slices"
	"sync"
	"time"
)

// turns bounds how many steps run at once. Of those that could run, the first in
// the file goes first.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting []*node // in the order of the file
}

// newTurns is for the nodes of a run in their order; 0 is no limit.
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

// ask says that nothing stands in the way of a step any more. Its turn is closed
// when it may run; give must be called after that.
func (t *turns) ask(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.asked = true
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
		case n.asked:
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			t.free--
			n.granted = time.Now()
			close(n.turn)
		case n.canAsk():
			return // it is about to, and comes before those after it
		default:
			i++
		}
	}
}

// before are the nodes that must be over before it is a step's turn.
func (n *node) before() []*node { return slices.Concat(n.needs, n.deps) }

// canAsk reports whether all that the step waits for is over.
func (n *node) canAsk() bool {
	return !slices.ContainsFunc(n.before(), func(before *node) bool { return !before.isOver() })
}

func (n *node) isOver() bool {
	select {
	case <-n.over():
		return true
	default:
		return false
	}
}

// await asks for a step's turn as soon as all that it waits for is over. Detached
// steps have theirs at once: they run beside the others for as long as those.
func (r *run) await(n *node) {
	for _, before := range n.before() {
		if !before.isOver() {
			<-before.over()
			n.waitedFor = before.result.Step // it ended last so far
		}
	}
	n.eligible = time.Now()
	if n.step.Detach {
		close(n.turn)
		return
	}
	r.turns.ask(n)
}

// awaitTurn waits for a step's turn and finds out whether all before it went well.
// The returned function ends the turn.
func (r *run) awaitTurn(n *node, serving context.Context) (end func()) {
	select {
	case <-n.turn:
		n.result.WaitedFor, n.result.Eligible = n.waitedFor, n.eligible
	case <-serving.Done(): // only of a detached step; the others have all ended
	}
	if n.isAhead {
		<-r.ahead
	}
	for _, before := range n.before() {
		if before.isOver() {
			n.failed = n.failed || before.failed
		}
	}
	n.failed = n.failed || r.plan.StopOnFailure && r.hasFailed()
	if n.step.Detach {
		return func() {}
	}
	queue := n.granted.Sub(n.eligible)
	defer func() { n.result.Queue = event.Millis(queue.Truncate(time.Millisecond)) }()
	if r.o.Slots == nil {
		return r.turns.give
	}
	asked := time.Now()
	r.o.Slots <- struct{}{}
	queue += time.Since(asked)
	return func() {
		<-r.o.Slots
		r.turns.give()
	}
}

// hasFailed reports whether any step has made the run fail by now.
func (r *run) hasFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failed) > 0
}

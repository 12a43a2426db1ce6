package engine

import (
	"context"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/schedule"
)

// newOrder says when each of the nodes of a run may begin, which are in the order of the
// file; limit bounds how many steps run at once, and 0 means no limit. Services and detached
// steps run beside the others and take no place among them.
func newOrder(nodes []*node, limit int) *schedule.Schedule {
	order := schedule.New(limit)
	for _, n := range nodes {
		if n.isBeside() {
			n.life.turn = order.AddBeside(n.step.Name)
		} else {
			n.life.turn = order.Add(n.step.Name)
		}
	}
	for _, n := range nodes {
		for _, before := range n.before() {
			n.life.turn.WaitFor(before.life.turn)
		}
	}
	return order
}

// awaitTurn waits for a step's turn and finds out whether everything before it went well.
// The step keeps its place among the steps that run at once until it has ended; the returned
// function gives back its place among the steps of several runs.
//
// A step whose ctx ends need not wait for steps of other runs: it will not run.
func (r *run) awaitTurn(ctx context.Context, n *node, serving context.Context) (end func()) {
	var wait schedule.Wait
	hasTurn := r.awaitDecision(n, serving)
	if hasTurn {
		wait = n.life.turn.Waited()
		n.result.WaitedFor, n.result.Eligible = wait.For, wait.Eligible
	}
	failed := r.plan.StopOnFailure && r.hasFailed()
	for _, before := range n.before() {
		failed = failed || before.isOver() && before.life.hasFailed()
	}
	if failed {
		n.life.fail()
	}
	if n.step.Detach || !hasTurn {
		return func() {}
	}
	queue := wait.Granted.Sub(wait.Eligible)
	defer func() { n.result.Queue = event.Millis(queue.Truncate(time.Millisecond)) }()
	if r.o.Limits.Slots == nil {
		return func() {}
	}
	asked := time.Now()
	select {
	case r.o.Limits.Slots <- struct{}{}:
		end = func() { <-r.o.Limits.Slots }
	case <-ctx.Done():
		end = func() {}
	}
	queue += time.Since(asked)
	return end
}

// awaitDecision waits until it is certain whether a step runs, and reports whether it has its turn.
// Of a step that a failure keeps from running, it does not wait until further services are ready:
// that can take as long as their timeout. Steps after it still find all steps before it over.
func (r *run) awaitDecision(n *node, serving context.Context) (hasTurn bool) {
	turn := n.life.turn.Turn()
	for _, dep := range n.deps {
		enough := ended
		if dep.isBeside() {
			enough = running // it has the variables that it passes on
		}
		select {
		case <-turn:
			return true
		case <-dep.life.reached(enough):
		case <-serving.Done():
			return false
		}
	}
	doomed := n.life.doomed
	if n.step.RunOn.Failure {
		doomed = nil
	}
	select {
	case <-turn:
		return true
	case <-doomed:
	case <-serving.Done(): // only of a detached step; the others have all ended
	}
	return false
}

// hasFailed reports whether any step has made the run fail by now.
func (r *run) hasFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failed) > 0
}

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// companion is a service or a detached step, which runs beside the other steps.
type companion struct {
	node *node
	stop context.CancelFunc
}

// startBeside starts a service or a detached step. It runs until it is stopped, also after
// an interrupt: a step that is being stopped may need it.
func (r *run) startBeside(ctx context.Context, n *node) companion {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	waiting, cancel := context.WithCancelCause(ctx) // ends when either ends: nothing is left to wait for
	context.AfterFunc(serving, func() { cancel(context.Canceled) })
	if n.service {
		go r.runService(waiting, serving, n)
	} else {
		go r.runStep(waiting, serving, n)
	}
	return companion{n, stop}
}

// stopBeside stops services and detached steps, one after the other, in the reverse order
// of the file: a later one may need those before it.
func stopBeside(all []companion) {
	for _, c := range slices.Backward(all) {
		c.stop()
		<-c.node.life.reached(ended)
	}
}

// runService runs a service until serving ends.
func (r *run) runService(ctx, serving context.Context, n *node) {
	defer n.life.move(ended)
	defer r.survive(n)
	n.life.move(starting)
	if ctx.Err() != nil {
		r.finish(n, r.notRun(ctx, n))
		return
	}
	r.finish(n, r.serve(ctx, serving, n, nil))
}

// serve executes a service or a detached step until serving ends.
func (r *run) serve(ctx, serving context.Context, n *node, p *prepared) outcome {
	end := r.execute(ctx, serving, n, p)
	switch {
	case serving.Err() != nil && end.status == event.Cancelled:
		return outcome{status: event.Stopped}
	case n.result.NotReady || n.result.Started.IsZero():
	case n.endedEarly(end):
		n.result.EndedEarly = true
		if !n.step.IgnoreFailure {
			r.failUsers(n)
		}
		return r.earlyEnd(n, end)
	case end.status == event.Succeeded && n.work.need != noNeed && n.serves():
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "the service ended by itself before the steps that may need it"})
	}
	return end
}

// need says who still needed a service or a detached step at the moment when its command
// ended by itself.
type need int

const (
	noNeed need = iota // nobody: all that need it, or the run, had ended
	inUse              // steps that had begun, or calls of Serving
	unused             // steps of which none had begun
)

// needOf says who needs a node now. ctx ends with the run.
func (r *run) needOf(ctx context.Context, n *node) need {
	switch {
	case !n.isBeside() || ctx.Err() != nil:
		return noNeed
	case r.o.Serve != nil: // calls may need it until the end
		return inUse
	}
	users := r.users(n)
	switch {
	case !slices.ContainsFunc(users, func(user *node) bool { return !user.life.has(ended) }):
		return noNeed
	case slices.ContainsFunc(users, func(user *node) bool { return user.life.has(starting) }):
		return inUse
	}
	return unused
}

// users are the nodes that need a service or a detached step, except those that an earlier
// run has done. What depends on a detached step needs it, also by way of other steps. If
// nothing depends on it, every step may need it.
func (r *run) users(n *node) []*node {
	needs := map[*node]bool{n: true}
	for grown := true; grown; {
		grown = false
		for _, other := range r.nodes {
			if !needs[other] && slices.ContainsFunc(other.before(), func(before *node) bool { return needs[before] }) {
				needs[other], grown = true, true
			}
		}
	}
	delete(needs, n)
	var users []*node
	for _, other := range r.nodes {
		if other.done == nil && (needs[other] || len(needs) == 0 && !other.isBeside()) {
			users = append(users, other)
		}
	}
	return users
}

// failUsers marks what needs a node as failed, so that those that have not begun do not begin:
// a step that publishes must not trust tests whose service was gone.
func (r *run) failUsers(n *node) {
	for _, user := range r.users(n) {
		user.life.fail()
	}
}

// endedEarly reports whether a service or a detached step has ended before what needs it.
// One that ended with exit code 0 may have done all that it was for. A service has not if
// nobody has begun to use it.
func (n *node) endedEarly(end outcome) bool {
	return end.status == event.Failed && n.work.need != noNeed || end.status == event.Succeeded && n.work.need == unused && n.serves()
}

// earlyEnd is the end of a service or a detached step that has ended before what needs it.
func (r *run) earlyEnd(n *node, end outcome) outcome {
	how := fmt.Sprintf("ended with exit code %d", end.code)
	if end.err != nil {
		how = end.err.Error()
	}
	if end.code == 0 {
		end.code = event.CodeError // it is never green
	}
	end.status, end.err = event.Failed, fmt.Errorf("%s before the steps that need it have ended (failure: ignore in the %s allows that)", how, n.role())
	if r.o.Serve != nil {
		end.err = fmt.Errorf("%s before the end of the job", how)
	}
	return end
}

// peers are the run's services, and the detached steps whose names can be host names.
func (r *run) peers() []sandbox.Peer {
	var peers []sandbox.Peer
	for _, n := range r.nodes {
		if n.service || n.step.Detach && pipeline.IsPeerName(n.step.Name) {
			peers = append(peers, sandbox.Peer{Names: r.aliases(n), Network: n.step.Network})
		}
	}
	return peers
}

// aliases are the names that lead to a step on a private network, its own first.
func (r *run) aliases(n *node) []string {
	var names []string
	for _, name := range append([]string{n.step.Name}, n.step.Names.Aliases...) {
		if pipeline.IsPeerName(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

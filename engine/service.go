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
	case n.result.NotReady || n.result.Started.IsZero() || ctx.Err() != nil:
	case n.service && r.endedEarly(n, end):
		n.result.EndedEarly = true
		return r.earlyEnd(end)
	case end.status == event.Failed:
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: fmt.Sprintf("the %s ended by itself, with exit code %d, before the steps that may need it", n.role(), end.code)})
	case end.status == event.Succeeded && n.service:
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "the service ended by itself before the steps that may need it"})
	}
	return end
}

// endedEarly reports whether a service has ended before what needs it. One that ended with
// exit code 0 may have done all that it was for, but not before anybody could need it.
func (r *run) endedEarly(n *node, end outcome) bool {
	isNeeded, isUsed, isDone := false, false, true
	for _, other := range r.nodes {
		if other.done == nil && slices.Contains(other.needs, n) {
			isNeeded = true
			isUsed = isUsed || other.life.has(starting)
			isDone = isDone && other.life.has(ended)
		}
	}
	if r.o.Serve != nil { // calls may need it until the end
		return end.status == event.Failed
	}
	return isNeeded && (end.status == event.Failed && !isDone || end.status == event.Succeeded && !isUsed)
}

// earlyEnd is the end of a service that has ended before what needs it.
func (r *run) earlyEnd(end outcome) outcome {
	how := fmt.Sprintf("ended with exit code %d", end.code)
	if end.err != nil {
		how = end.err.Error()
	}
	if end.code == 0 {
		end.code = event.CodeError // it is never green
	}
	end.status, end.err = event.Failed, fmt.Errorf("%s before the steps that need it have ended (failure: ignore in the service allows that)", how)
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

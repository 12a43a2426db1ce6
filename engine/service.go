package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// startBeside starts what runs beside the steps, a service or a detached step. It
// goes on until stopBeside, also on an interrupt: a step that is being stopped
// may need it.
func (r *run) startBeside(ctx context.Context, n *node) {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	waiting, cancel := context.WithCancelCause(ctx) // it waits for nothing any more when either ends
	context.AfterFunc(serving, func() { cancel(context.Canceled) })
	if n.result.Service {
		go r.runService(waiting, serving, n)
	} else {
		go r.runStep(waiting, serving, n)
	}
}

// stopBeside stops what runs beside the steps, one after the other: the last of
// the file first, as it may need those before it.
func (r *run) stopBeside() {
	for _, n := range slices.Backward(r.nodes) {
		if n.isBeside() {
			n.stop()
			<-n.ended
		}
	}
}

// runService runs a service until serving ends.
func (r *run) runService(ctx, serving context.Context, n *node) {
	defer close(n.ended)
	defer n.settle(false)
	defer r.survive(n)
	if ctx.Err() != nil {
		r.finish(n, r.notRun(ctx, n))
		return
	}
	r.finish(n, r.serve(ctx, serving, n, nil))
}

// serve executes what runs beside the steps, until serving ends.
func (r *run) serve(ctx, serving context.Context, n *node, ahead *prepared) outcome {
	end := r.execute(ctx, serving, n, ahead)
	switch {
	case serving.Err() != nil && end.status == event.Cancelled:
		return outcome{status: event.Stopped}
	case n.result.NotReady || !n.runs || ctx.Err() != nil:
	case end.status == event.Failed:
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: fmt.Sprintf("the %s ended by itself, with exit code %d, before the steps that may need it", n.role(), end.code)})
	case end.status == event.Succeeded && n.result.Service:
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "the service ended by itself before the steps that may need it"})
	}
	return end
}

// isBeside reports whether a node is a service or a detached step.
func (n *node) isBeside() bool { return n.result.Service || n.step.Detach }

func (n *node) role() string {
	if n.step.Detach {
		return "detached step"
	}
	return "service"
}

// settle tells the steps that wait for a service or a detached step that it is
// ready, or that it will not be. Only the first call counts: what happens later
// is not theirs to wait for.
func (n *node) settle(failed bool) {
	n.settled.Do(func() {
		n.failed = n.failed || failed
		close(n.ready)
	})
}

// hostNames are the names that steps reach the run's services by, and detached
// steps where their name can be one.
func (r *run) hostNames() []string {
	var names []string
	for _, n := range r.nodes {
		if n.result.Service || n.step.Detach && pipeline.IsHostName(n.step.Name) {
			names = append(names, n.step.Name)
		}
	}
	return names
}

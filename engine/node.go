package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// node is a step or a service of a run.
type node struct {
	// Fixed before the run begins.
	step    *pipeline.PlannedStep
	number  int64 // from 1, in the order of the plan; later ones are extra steps
	service bool
	deps    []*node           // steps that must be over before it starts
	needs   []*node           // services that must be ready before it starts
	done    *event.StepResult // result that an earlier run had of it; nil: it has to run
	extra   *Extra            // the step as the caller of Serving.Run gave it; nil: a step of the plan

	life   *life // has a lock of its own
	inside door  // has a lock of its own

	// Only the node's goroutine uses these until the node is over; then they are final. Of a
	// node that is settled but has not ended, only work.exports is.
	work   work
	result event.StepResult // what is published of the step, as far as it is known
}

// work is what the goroutine of a node needs to know while it runs the step.
type work struct {
	attempt   int        // number of the current attempt, from 1
	exports   exports    // variables for the nodes that depend on it: its own and those it got
	inherited []string   // NAME=value of the variables that it got and uses
	need      need       // of a service or a detached step whose command ended by itself
	keyed     []keyedUse // keyed caches of the current attempt
	left      *leftRoot  // root file system of its last attempt; nil: none is left
}

func (r *run) newNode(step *pipeline.PlannedStep, service bool) *node {
	return &node{
		step: step, number: r.made.Add(1), service: service, life: newLife(), work: work{attempt: 1},
		result: event.StepResult{
			Step: step.Name, Service: service, Detached: step.Detach, File: cmp.Or(step.File, r.plan.File), Line: step.Line, Image: step.Image, Output: step.Output,
			Reason: step.Reason, Status: event.Pending,
		},
	}
}

// sandboxID is the ID of the sandbox of the current attempt.
func (n *node) sandboxID() string {
	if n.work.attempt == 1 {
		return fmt.Sprint(n.number)
	}
	return fmt.Sprintf("%d-%d", n.number, n.work.attempt)
}

// isBeside reports whether the node is a service or a detached step, which run beside the
// other steps.
func (n *node) isBeside() bool { return n.service || n.step.Detach }

// role names what runs beside the steps, in words.
func (n *node) role() string {
	if n.serves() {
		return "service"
	}
	return "detached step"
}

// serves reports whether the node is a service, here or in the file that it comes from.
func (n *node) serves() bool { return n.service || n.step.Serves }

// before are the nodes that must be over before it is this node's turn.
func (n *node) before() []*node { return slices.Concat(n.needs, n.deps) }

// over is the phase from which on the nodes that wait for this one go on.
func (n *node) over() phase {
	if n.isBeside() {
		return settled
	}
	return ended
}

// isOver reports whether the nodes that wait for this one may go on.
func (n *node) isOver() bool { return n.life.has(n.over()) }

// settle lets the nodes that wait for a service or a detached step go on: it is ready, or
// failed, and then they fail with it.
func (n *node) settle(failed bool) {
	if !n.isBeside() {
		return
	}
	if failed {
		n.life.fail()
	}
	n.life.move(settled)
}

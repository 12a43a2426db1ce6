package engine

import (
	"fmt"
	"sync"

	"github.com/stepexec/stepexec/schedule"
)

// phase is how far a node has come. The package comment draws the phases.
type phase int

const (
	pending phase = iota
	ahead
	starting
	running
	settled
	ended
)

// String returns the name of the phase.
func (p phase) String() string {
	return [...]string{"pending", "ahead", "starting", "running", "settled", "ended"}[p]
}

// mayFollow reports whether a node may move from one phase to this one.
func (p phase) mayFollow(from phase) bool {
	switch p {
	case ahead:
		return from == pending
	case starting:
		return from == pending || from == ahead || from == starting || from == running // the last two: a further attempt
	case running:
		return from == starting
	case settled:
		return from == running
	case ended:
		return from != ended
	}
	return false
}

// life is the phase of a node, for everyone who waits for one.
type life struct {
	turn  *schedule.Item // told when the node is over, and when it has ended; nil for an extra step
	after []*life        // of the nodes that depend on this one; they fail with it

	mu       sync.Mutex // guards the rest but the channels themselves
	phase    phase
	furthest phase                    // latest phase so far; a further attempt moves phase back, but not this
	failed   bool                     // the node, or a node that it depends on, failed; final once the node is over
	passed   [ended + 1]chan struct{} // by phase: closed once the node has reached the phase, or a later one
	doomed   chan struct{}            // closed once failed is set
}

func newLife() *life {
	l := &life{doomed: make(chan struct{})}
	for p := range l.passed {
		l.passed[p] = make(chan struct{})
	}
	return l
}

// move moves the node to a phase. A move that the package comment does not draw is a bug,
// and panics.
func (l *life) move(to phase) {
	l.moveAlone(to)
	if to >= settled && l.hasFailed() {
		for _, next := range l.after {
			next.fail()
		}
	}
	switch {
	case l.turn == nil:
	case to == settled:
		l.turn.Over()
	case to == ended:
		l.turn.End()
	}
}

// moveAlone is move, of which the schedule is not told.
func (l *life) moveAlone(to phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !to.mayFollow(l.phase) {
		panic(fmt.Sprintf("a step moved from phase %v to phase %v", l.phase, to))
	}
	for l.phase = to; l.furthest < to; {
		l.furthest++
		close(l.passed[l.furthest])
	}
}

// reached is closed once the node has reached the phase, or a later one.
func (l *life) reached(p phase) <-chan struct{} { return l.passed[p] }

// has reports whether the node has reached the phase, or a later one.
func (l *life) has(p phase) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.furthest >= p
}

// fail marks the node as failed. Once it is settled that changes nothing: the nodes that
// need it have gone on.
func (l *life) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.failed && l.furthest < settled {
		l.failed = true
		close(l.doomed)
	}
}

// hasFailed reports whether the node, or a node that it depends on, failed.
func (l *life) hasFailed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

package engine

import (
	"runtime/debug"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
)

// survive, deferred in the goroutine of a step, turns a panic into a failure of this step,
// which is stepexec's own. The other steps of the run, and other runs of the process, go on.
func (r *run) survive(n *node) {
	value := recover()
	if value == nil {
		return
	}
	r.conclude(n, outcome{event.Failed, event.CodeError, &crash.Error{Value: value, Stack: debug.Stack()}})
	r.reportEnd(n)
}

// protect calls a function. It keeps a panic of it among the run's errors, and returns it.
func (r *run) protect(do func()) (err error) {
	defer func() { r.keepErr(err) }()
	defer crash.Recover(&err)
	do()
	return nil
}

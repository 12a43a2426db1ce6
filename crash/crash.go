// Package crash turns a panic of stepexec into an error, so that one build that meets a bug
// of stepexec fails alone: other builds of the same process go on.
//
// It is not for errors that code expects, and it recovers nothing by itself: whoever starts a
// goroutine on behalf of a build defers Recover in it.
package crash

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Error is a panic that was recovered.
type Error struct {
	Value any    // argument of the panic; it may hold a secret
	Stack []byte // of the goroutine that panicked, as debug.Stack formats it
}

// Error names a fault that the Go runtime found. Any other value of a panic stays out of the
// text, which goes to people who may not read the secrets of a build: it is for the log of
// whoever runs stepexec.
func (e *Error) Error() string {
	const what = "stepexec itself failed: this is a bug in stepexec, and its log has the details"
	if fault, ok := e.Value.(runtime.Error); ok {
		return fmt.Sprintf("%s: %v", what, fault)
	}
	return what
}

// Log is the text for the log of whoever runs stepexec: the value and the stack.
func (e *Error) Log() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Recover, deferred, puts a panic of the function that defers it into err.
func Recover(err *error) {
	if value := recover(); value != nil {
		*err = &Error{Value: value, Stack: debug.Stack()}
	}
}

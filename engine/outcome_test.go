package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/sandbox"
)

// Whatever else went wrong is not lost when a step ends because it was cancelled.
func TestOutcomeTellsAllErrors(t *testing.T) {
	cause, busy := errors.New("interrupted"), errors.New("unmount: busy")
	refusal := &sandbox.CommandError{Code: 126, Command: "x"}
	for _, test := range []struct {
		name      string
		cancelled bool
		err       error
		status    event.Status
		code      int
		text      string
	}{
		{"success", false, nil, event.Succeeded, 0, ""},
		{"error", false, busy, event.Failed, event.CodeError, "unmount: busy"},
		{"refused command", false, refusal, event.Failed, 126, refusal.Error()},
		{"refused command, and an error", false, errors.Join(refusal, busy), event.Failed, 126, refusal.Error() + "\nunmount: busy"},
		{"cancelled", true, nil, event.Cancelled, event.CodeInterrupted, "interrupted"},
		{"cancelled, with its cause", true, errors.Join(cause), event.Cancelled, event.CodeInterrupted, "interrupted"},
		{"cancelled before the command was executed", true, refusal, event.Cancelled, event.CodeInterrupted, "interrupted"},
		{"cancelled, and an error", true, errors.Join(nil, busy), event.Failed, event.CodeError, "unmount: busy"},
		{"cancelled before the command was executed, and an error", true, errors.Join(errors.Join(refusal, nil), busy), event.Failed, event.CodeError, "unmount: busy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, code, err := engine.OutcomeOf(ended(t, test.cancelled, cause), test.err)
			check(t, status, code, err, test.status, test.code, test.text)
		})
	}
	for _, test := range []struct {
		name      string
		cancelled bool
		err       error
		status    event.Status
		code      int
		text      string
	}{
		{"no start", false, busy, event.Failed, event.CodeError, "unmount: busy"},
		{"no start, cancelled", true, fmt.Errorf("fetch: %w", context.Canceled), event.Cancelled, event.CodeInterrupted, "interrupted"},
		{"no start, cancelled, and an error", true, errors.Join(cause, busy), event.Cancelled, event.CodeInterrupted, "interrupted\nunmount: busy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, code, err := engine.FailedStart(ended(t, test.cancelled, cause), test.err)
			check(t, status, code, err, test.status, test.code, test.text)
		})
	}
}

// ended returns a context that has ended, or one that has not.
func ended(t *testing.T, cancelled bool, cause error) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	if cancelled {
		cancel(cause)
	}
	return ctx
}

func check(t *testing.T, status event.Status, code int, err error, wantStatus event.Status, wantCode int, wantText string) {
	t.Helper()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if status != wantStatus || code != wantCode || text != wantText {
		t.Errorf("got %s %d %q, want %s %d %q", status, code, text, wantStatus, wantCode, wantText)
	}
}

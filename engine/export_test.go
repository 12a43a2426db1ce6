package engine

import (
	"context"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/sandbox"
)

// What the package's own tests look at.
var (
	ParseExports = parseExports
	IsFixed      = isFixed
)

const (
	MaxAhead    = maxAhead
	MaxRemovals = maxRemovals
)

// OutcomeOf is how a step ends whose wait returned an error.
func OutcomeOf(ctx context.Context, err error) (event.Status, int, error) {
	end := outcomeOf(ctx, sandbox.Exit{}, err, nil)
	return end.status, end.code, end.err
}

// FailedStart is how a step ends that could not be started.
func FailedStart(ctx context.Context, err error) (event.Status, int, error) {
	end := failedStart(ctx, err)
	return end.status, end.code, end.err
}

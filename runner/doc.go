// Package runner holds what the runners of all CI servers share: the work that a server hands
// out, a runner's life from its first poll to its drain, the care for one build, pauses between
// calls, and the numbers for /metrics. Each server's protocol is a package below this one.
//
//	Service.Run ─▶ Life.Polling   ends when the runner shall take no more work
//	               Life.Calls     ends when nothing more is reported: after the last build, or
//	                              GoodbyeTime after Kill
//	Life.Begin  ─▶ Build          one build: cancelled by the server or by Kill, guarded against
//	                              panics, over with End
package runner

import (
	"context"

	"github.com/stepexec/stepexec/run"
)

// Execute runs work to its end. The events say how the steps ended. An error means that the
// work could not begin (it is refused, its pipeline is wrong, or this machine cannot run it),
// that stepexec itself failed, or that something could not be cleared away.
type Execute func(ctx context.Context, w run.Work) error

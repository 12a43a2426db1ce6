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

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
)

// Work is a pipeline that a server asks for.
type Work struct {
	Pipeline *pipeline.Pipeline
	Inputs   pipeline.Inputs
	Logins   map[string]pull.Login                        // at registries, by their hosts
	Events   func(event.Event)                            // listener, called one event at a time; nil: nobody listens
	Serve    func(context.Context, *engine.Serving) error // see engine.Options; may be nil
	Kill     <-chan struct{}                              // closed: running steps are killed, without the rest of their grace
}

// Execute runs work to its end. The events say how the steps ended. An error means that the
// work could not begin (it is refused, its pipeline is wrong, or this machine cannot run it),
// that stepexec itself failed, or that something could not be cleared away.
type Execute func(ctx context.Context, w Work) error

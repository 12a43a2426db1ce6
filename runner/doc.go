// Package runner is what the ways in from CI servers have in common: the work that they
// hand on to be run. Each server's protocol is a package of its own below this one.
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
	Events   func(event.Event)                            // called one at a time; nil: nobody is told
	Serve    func(context.Context, *engine.Serving) error // see engine.Options; may be nil
	Kill     <-chan struct{}                              // closed: running steps are killed, without the rest of their grace
}

// Execute runs work to its end. What became of the steps is in the events. The error is
// that the work could not be begun: it is refused, a bad pipeline, or this machine cannot
// run it; or what could not be cleared away after it.
type Execute func(ctx context.Context, w Work) error

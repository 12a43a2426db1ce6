package main

import (
	"context"
	"errors"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
)

// executePlan runs a plan on a host and with a store that it opens, and returns the
// run's exit code. The options of the engine lack those two alone.
func executePlan(ctx context.Context, plan *pipeline.Plan, fetcher *engine.Fetcher, s settings.Settings, on sandbox.Options, o engine.Options) (code int, err error) {
	host, err := sandbox.Open(ctx, on)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	mask := logs.NewMask(plan.Secrets)
	say := func(line string) { sayOnStderr(mask.String(line)) }
	if left := host.Leftovers(); left != nil {
		say("warning: " + left.Error())
	}
	store, err := openStore(on.Root, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	in := &intake{store: store, limit: s.StoreLimit, root: on.Root, runtime: on.Runtime, say: say}
	fetcher.Store, fetcher.Progress = store, in.progress
	o.Host, o.Fetcher = host, fetcher
	summary, err := engine.Run(ctx, plan, o)
	in.end(ctx)
	return summary.ExitCode, err
}

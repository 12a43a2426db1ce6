package main

import (
	"context"
	"errors"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
)

// executePlan runs a plan on a host and with a store that it opens, keeps a record
// of the run and returns its exit code. The options of the engine lack host and
// store alone.
func executePlan(ctx context.Context, admitted *policy.Plan, fetcher *engine.Fetcher, s settings.Settings, on sandbox.Options, o engine.Options) (code int, err error) {
	plan := admitted.Plan()
	err = onHost(ctx, plan, fetcher, s, on, o, func(o engine.Options) error {
		o, finish := keepRecord(on.Root, plan, s, o, sayOr(on.Warn))
		defer finish()
		summary, err := engine.Run(ctx, admitted, o)
		code = summary.ExitCode
		return err
	})
	if _, trimErr := trimHistory(on.Root, s); trimErr != nil {
		sayOr(on.Warn)("warning: " + trimErr.Error())
	}
	return code, err
}

// onHost opens a host and a store for use and closes them again. Lines of stepexec's
// own go to on.Warn, or else to stderr.
func onHost(ctx context.Context, plan *pipeline.Plan, fetcher *engine.Fetcher, s settings.Settings, on sandbox.Options, o engine.Options, use func(engine.Options) error) (err error) {
	mask, show := logs.NewMask(plan.Secrets), sayOr(on.Warn)
	say := func(line string) { show(mask.String(line)) }
	on.Warn = func(line string) { say("warning: " + line) }
	on.Guard = guardCommand()
	host, err := sandbox.Open(ctx, on)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	if left := host.Leftovers(); left != nil {
		say("warning: " + left.Error())
	}
	store, err := openStore(on.Root, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	in := &intake{store: store, limit: s.StoreLimit, root: on.Root, runtime: on.Runtime, say: say}
	fetcher.Store, fetcher.Progress = store, in.progress
	o.Host, o.Fetcher, o.OutputLimit = host, fetcher, s.OutputLimit
	err = use(o)
	in.end(ctx)
	return err
}

// sayOr shows a line by show, or else on stderr.
func sayOr(show func(line string)) func(line string) {
	if show == nil {
		return sayOnStderr
	}
	return show
}

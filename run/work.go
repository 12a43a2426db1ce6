package run

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/settings"
)

// Work is a pipeline that a CI server has handed out.
type Work struct {
	Pipeline *pipeline.Pipeline
	Inputs   pipeline.Inputs
	Build    event.Build                                  // what is built, for people; zero: not known
	Default  *policy.Policy                               // what it may ask for where the runner's administrator says nothing; nil: policy.Untrusted
	Source   policy.Source                                // what the server itself says of the pipeline, for rules by repository
	Scopes   cache.Scopes                                 // of keyed caches; zero: none are restored or saved
	Proxies  []string                                     // NAME=value of the runner's own proxies, which privileged images get, too
	Own      Folders                                      // of the runner that the work comes from
	Logins   map[string]pull.Login                        // at registries, by their hosts
	Events   func(*event.Event)                           // listener, see engine.Options; nil: nobody listens
	Serve    func(context.Context, *engine.Serving) error // see engine.Options; may be nil
	Kill     <-chan struct{}                              // closed: running steps are killed, without the rest of their grace
	Gone     func()                                       // see sandbox.Options; may be nil
}

// Folders are folders of this machine that a server's runner mounts by itself, whatever the
// administrator's policy says of other folders.
type Folders struct{ Write, Read []string }

// Bench is what a runner runs work with.
type Bench struct {
	Machine  Machine                           // its Settings are not used
	Settings func() (settings.Settings, error) // asked for each time: an operator need not restart the runner
	Grace    time.Duration                     // between a step's stop signal and the kill
	Slots    chan struct{}                     // holds as many as steps of all pipelines may run at once; nil: no limit
	Rules    *policy.Policy                    // of the administrator; nil: Work.Default
	Way      policy.Way                        // in which the work comes
	Pull     pipeline.PullPolicy               // of images whose steps and rules name none; "": pipeline.PullMissing
}

// Execute runs work to its end. The events say how the steps ended. An error means that the
// work could not begin (it is refused, its pipeline is wrong, or this machine cannot run it),
// that stepexec itself failed, or that something could not be cleared away.
func (b *Bench) Execute(ctx context.Context, work Work) (err error) {
	defer func() { err = Masked(err, work.Inputs.Secrets) }()
	m := b.Machine
	m.Sandbox.Gone = work.Gone
	origin, err := m.Origin(b.Way)
	if err != nil {
		return err
	}
	rules, err := cmp.Or(b.Rules, work.Default, policy.Untrusted()).For(work.Source)
	if err != nil {
		return err
	}
	admitted, err := rules.Allowing(work.Own.Write, work.Own.Read).Passing(work.Proxies).Plan(work.Pipeline, work.Inputs, origin)
	if err != nil {
		return err
	}
	plan := admitted.Plan()
	if m.Settings, err = b.Settings(); err != nil {
		return err
	}
	keychain, err := pull.ConfigKeychain(plan.RegistryConfigs, pull.Logins(work.Logins))
	if err != nil {
		return fmt.Errorf("image_pull_secrets: %w", err)
	}
	fetcher := &fetch.Fetcher{
		Dir: work.Inputs.Dir, Unsaid: b.Pull, AccessDir: m.AccessDir(settings.VerifyCredentials),
		Options: pull.Options{Registries: m.Settings.Registries, Keychain: keychain},
	}
	_, err = Execute(ctx, &Planned{Admitted: admitted, Plan: plan, Fetcher: fetcher, Scopes: work.Scopes, Build: work.Build}, m, engine.Options{
		Events: work.Events, Serve: work.Serve,
		Stop: engine.Stop{Kill: work.Kill, Grace: b.Grace}, Limits: engine.Limits{Slots: b.Slots},
	})
	return err
}

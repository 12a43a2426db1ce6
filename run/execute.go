package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
	"github.com/stepexec/stepexec/trace"
	"github.com/stepexec/stepexec/unpack"
)

// Machine is what runs have in common on this machine: where their state lies, what runs
// containers, and who is told.
type Machine struct {
	Sandbox  sandbox.Options // Warn and Stopping are set here
	Settings settings.Settings
	Trace    *trace.Tracer     // sends a trace and metrics of every run; nil: nobody wants them
	Say      func(line string) // shows a line for people; nil: the lines are dropped
}

func (m *Machine) say(line string) {
	if m.Say != nil {
		m.Say(line)
	}
}

// Origin says that steps came in by a way, for the caches of this machine.
func (m *Machine) Origin(way policy.Way) (policy.Origin, error) {
	caches, err := filepath.Abs(CachesDir(m.Sandbox.Root))
	return policy.Origin{Way: way, Caches: caches}, err
}

// Execute runs a plan to its end with a host and a store that it opens, keeps a record of the
// run and returns its exit code. Without a Cache of the options there is one. Host, Fetcher, Build,
// Done and Limits.Output of the options are set here. A panic of stepexec on the way is an error; its
// details are said.
func Execute(ctx context.Context, p *Planned, m Machine, o engine.Options) (code int, err error) {
	defer func() { m.tellCrash(err, p.Admitted.Mask()) }()
	defer crash.Recover(&err)
	if o.Cache == nil {
		caches := newCaches(m.Sandbox.Root)
		defer func() { err = errors.Join(err, caches.close()) }()
		o.Cache = caches.folder
	}
	var trimming crash.Group
	defer func() {
		if trimErr := trimming.Wait(); trimErr != nil {
			m.say("warning: " + trimErr.Error())
		}
	}()
	err = OnHost(ctx, p, m, o, func(o engine.Options) error {
		// With a hundred records this takes as long as closing the host, 2 ms, so they go side by side.
		defer trimming.Go(func() { trimming.Note(m.trimHistory(o.Host.ID())) })
		o, finish := keepRecord(m, p, o)
		defer finish()
		o, closeArtifacts, err := withArtifacts(m, p, o)
		if err != nil {
			return err
		}
		defer closeArtifacts()
		o = p.attested(o)
		o = m.traced(o)
		o.Build = p.Build
		summary, err := engine.Run(ctx, p.Admitted, o)
		code = summary.ExitCode
		return err
	})
	if err == nil && p.attestation != nil {
		if err = p.attestation.end(m.Sandbox.Root); err != nil {
			code, err = event.CodeError, fmt.Errorf("provenance: %w", err)
		}
	}
	return code, err
}

// telling returns options by which tell hears of each event, too, before anyone else.
func telling(o engine.Options, tell func(*event.Event)) engine.Options {
	others := o.Events
	o.Events = func(e *event.Event) {
		tell(e)
		if others != nil {
			others(e)
		}
	}
	return o
}

// traced tells the tracer of the machine the run's events, and steps their spans.
func (m *Machine) traced(o engine.Options) engine.Options {
	if m.Trace == nil {
		return o
	}
	traced := m.Trace.Run(o.Host.ID())
	o = telling(o, func(e *event.Event) { traced.Event(*e) })
	o.TraceParent = traced.Parent
	return o
}

// tellCrash says the details of a panic that err holds.
func (m *Machine) tellCrash(err error, mask *logs.Mask) {
	var c *crash.Error
	if errors.As(err, &c) {
		m.say(mask.String(c.Log()))
	}
}

// OnHost opens a host and a store for use, which gets the options that name them, and closes
// both again.
func OnHost(ctx context.Context, p *Planned, m Machine, o engine.Options, use func(engine.Options) error) (err error) {
	mask := p.Admitted.Mask()
	say := func(line string) { m.say(mask.String(line)) }
	on := m.Sandbox
	on.RuntimeCalls = on.RuntimeCalls || m.Settings.RuntimeCalls
	on.Stopping = sandbox.Stopping{Grace: cmp.Or(o.Stop.Grace, engine.DefaultGrace), Now: o.Stop.Kill}
	on.Warn = func(line string) { say("warning: " + line) }
	host, err := sandbox.Open(ctx, on)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	if left := host.Leftovers(); left != nil {
		say("warning: " + left.Error())
	}
	store, err := OpenStore(on.Root, m.Settings)
	if err != nil {
		return err
	}
	store.Stays = on.Images != nil
	defer func() { err = errors.Join(err, store.Close()) }()
	in := &intake{store: store, limit: m.Settings.StoreLimit, root: on.Root, runtime: on.Runtime, say: say}
	p.Fetcher.Store, p.Fetcher.Progress = store, in.progress
	o.Host, o.Fetcher, o.Limits.Output = host, p.Fetcher, m.Settings.OutputLimit
	o.Done = p.Done
	stores := &keyedStores{root: on.Root, settings: m.Settings}
	defer stores.close()
	o.Keyed = &engine.KeyedCaches{Open: stores.open, Scopes: p.Scopes}
	err = use(o)
	in.end(ctx)
	return err
}

// AccessDir is the folder of records that say which credentials get which images of the store, for
// fetch.Fetcher. It is "" when everyone who uses the store may have what is in it. unsaid is what
// holds where the settings do not say.
func (m *Machine) AccessDir(unsaid settings.PullCredentials) string {
	if cmp.Or(m.Settings.PullCredentials, unsaid) == settings.SharedCredentials {
		return ""
	}
	return filepath.Join(m.Sandbox.Root, "access")
}

// OpenStore opens the store of a state root and has it unpack layers as the settings say.
func OpenStore(root string, s settings.Settings) (*unpack.Store, error) {
	store, err := unpack.OpenStore(root)
	if err != nil {
		return nil, err
	}
	store.Limits, store.Format = s.Limits, s.LayerFormat
	return store, nil
}

package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/health"
	"github.com/stepexec/stepexec/runner/journal"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

const (
	protocol     = 16               // gRPC protocol version of the servers that this was written for
	alivePeriod  = 10 * time.Second // between two signs of life
	extendPeriod = 20 * time.Second // between two renewals of a workflow's lease, which lasts a minute
	pollPause    = time.Second      // after a poll that brought nothing
	refusedPause = 10 * time.Second // after a poll that was refused
	silence      = time.Minute      // without an answer, after which the agent counts as sick
)

// agent is an agent at work.
type agent struct {
	o       *Options
	client  *client
	stats   *runner.Stats
	life    *runner.Life
	journal *journal.Folder // nil: nothing is kept on disk

	running    runner.Running[string] // by the ids of workflows
	mu         sync.Mutex
	registered int64           // number under which the server knows the agent
	member     context.Context // ends when the agent registers anew, or polls no more
	leave      context.CancelFunc
	joining    sync.Mutex // held while the agent registers
}

// Run works for a server until ctx ends, and lets the workflows that run then come to their
// end, unless Options.Kill is closed. The error says why the agent cannot work at all.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	id, err := readAgentFile(o.AgentFile)
	if err != nil {
		return err
	}
	s := runner.NewStats("workflow", o.MaxWorkflows, silence)
	client := newClient(&o, id, s)
	defer client.conn.Close()
	a := &agent{o: &o, client: client, stats: s}
	if o.State != "" {
		if a.journal, err = journal.Open(o.State, "woodpecker "+o.Server+" "+o.Hostname, func(err error) { o.Say("warning: " + err.Error()) }); err != nil {
			return err
		}
	}
	service := runner.Service{
		Kill: o.Kill, HealthAddress: o.HealthAddress, HealthByDefault: o.HealthByDefault, Listening: o.Listening, Say: o.Say,
		Health: health.Runner{Healthy: s.Healthy, Metrics: s.Metrics},
	}
	return service.Run(ctx, a.run)
}

func (a *agent) run(life *runner.Life) error {
	a.life = life
	defer func() {
		if a.leave != nil {
			a.leave()
		}
	}()
	if err := a.register(life.Polling); err != nil {
		if life.Polling.Err() != nil {
			return nil
		}
		return err
	}
	alive, dead := context.WithCancel(life.Calls)
	var signs, pollers sync.WaitGroup
	defer signs.Wait()
	defer dead()
	signs.Go(func() { a.sayAlive(alive) })
	var delivery sync.WaitGroup
	defer delivery.Wait()
	delivery.Go(func() { a.deliver(life.Polling) })
	for range a.o.MaxWorkflows {
		pollers.Go(func() { a.poll(life.Polling) })
	}
	pollers.Wait()
	return a.unregister()
}

// register makes the agent known to the server.
func (a *agent) register(ctx context.Context) error {
	version, err := call(ctx, a.client, prompt, wire.Version, &wire.Empty{})
	if err != nil {
		return fmt.Errorf("work for %s: %w", a.o.Server, err)
	}
	if version.GetGrpcVersion() != protocol {
		a.o.Say(fmt.Sprintf("warning: server %s speaks version %d of the protocol, and this agent was written for %d",
			version.GetServerVersion(), version.GetGrpcVersion(), protocol))
	}
	answer, err := call(ctx, a.client, prompt, wire.RegisterAgent, &wire.RegisterAgentRequest{Info: &wire.AgentInfo{
		Platform: a.o.Platform, Capacity: int32(a.o.MaxWorkflows), Backend: backend, Version: a.o.Version, CustomLabels: a.o.Labels,
	}})
	if err != nil {
		return fmt.Errorf("register at %s: %w", a.o.Server, err)
	}
	if a.o.AgentFile != "" {
		if err := writeAgentFile(a.o.AgentFile, answer.GetAgentId()); err != nil {
			a.o.Say(fmt.Sprintf("warning: %v; the agent will be a new one at its next start", err))
			a.o.AgentFile = ""
		}
	}
	a.mu.Lock()
	if a.leave != nil {
		a.leave() // what a poll under the old number brought, the new one may not run
	}
	a.registered = answer.GetAgentId()
	a.member, a.leave = context.WithCancel(a.life.Polling)
	a.mu.Unlock()
	a.o.Say(fmt.Sprintf("agent %d of %s (version %s), %d at once", answer.GetAgentId(), a.o.Server, version.GetServerVersion(), a.o.MaxWorkflows))
	return nil
}

// rejoin registers anew after an answer to a call that concerns no more than the agent, if the
// server does not know the agent any more, and reports whether it did: somebody has deleted it
// from the server's list. The call was made while the agent was registered under the number; if
// it has another one by now, somebody else's call has already led to that.
func (a *agent) rejoin(ctx context.Context, number int64, err error) bool {
	a.joining.Lock()
	defer a.joining.Unlock()
	registered, _ := a.membership()
	if registered != number {
		return true
	}
	if a.client.token.id() == registered && !isForgotten(err) {
		return false
	}
	joining, joined := a.client.token.join(ctx, registered)
	defer joined()
	if err := a.register(joining); err != nil {
		a.o.Say("warning: " + err.Error())
		return false
	}
	return true
}

// membership returns the number under which the server knows the agent, and a context that ends
// when the agent gets another one.
func (a *agent) membership() (number int64, member context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.registered, a.member
}

// unregister takes an agent without a file off the server's list.
func (a *agent) unregister() error {
	if a.o.AgentFile != "" || a.client.lost.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(a.life.Calls, runner.GoodbyeTime)
	defer cancel()
	if _, err := call(ctx, a.client, prompt, wire.UnregisterAgent, &wire.Empty{}); err != nil {
		return fmt.Errorf("unregister at %s: %w", a.o.Server, err)
	}
	return nil
}

// sayAlive tells the server that the agent lives.
func (a *agent) sayAlive(ctx context.Context) {
	ticker := time.NewTicker(alivePeriod)
	defer ticker.Stop()
	for {
		number, _ := a.membership()
		_, err := call(ctx, a.client, prompt, wire.ReportHealth, &wire.ReportHealthRequest{Status: "I am alive!"})
		if err != nil && ctx.Err() == nil && a.rejoin(ctx, number, err) {
			continue
		}
		if err != nil && ctx.Err() == nil {
			a.o.Say("warning: the server rejected the sign of life: " + err.Error())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// poll asks for workflows and runs them, one after the other, until ctx ends.
func (a *agent) poll(ctx context.Context) {
	entry := a.file()
	defer func() { a.release("", entry, true) }()
	for ctx.Err() == nil {
		number, member := a.membership()
		answer, err := call(member, a.client, waits, wire.Next, &wire.NextRequest{Filter: &wire.Filter{Labels: a.o.labels()}})
		switch {
		case ctx.Err() != nil:
			return
		case member.Err() != nil && err != nil:
			continue
		case errors.Is(err, errGaveUp):
			a.life.Fail(err)
			return
		case err != nil && a.rejoin(ctx, number, err):
			continue
		case err != nil:
			a.o.Say("warning: the server gives no work: " + err.Error())
			runner.Pause(ctx, refusedPause)
			continue
		case answer.GetWorkflow().GetId() == "":
			runner.Pause(ctx, pollPause)
			continue
		}
		if a.take(answer.GetWorkflow(), entry) {
			entry = a.file()
		}
		if a.o.SingleWorkflow {
			a.life.Finish()
		}
	}
}

// take runs a workflow, unless it runs here already: a server that was restarted hands out
// again what still runs. It reports whether the entry is used up.
func (a *agent) take(w *wire.Workflow, entry *journal.Entry) bool {
	if !a.running.Begin(w.GetId()) {
		return false
	}
	defer a.running.End(w.GetId())
	defer a.stats.BuildBegan()()
	a.runWorkflow(w, entry)
	return true
}

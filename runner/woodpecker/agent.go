package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stepexec/stepexec/runner/health"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

const (
	protocol     = 16               // gRPC protocol version of the servers that this was written for
	alivePeriod  = 10 * time.Second // between two signs of life
	extendPeriod = 20 * time.Second // between two renewals of a workflow's lease, which is a minute
	pollPause    = time.Second      // after a poll that brought nothing
	refusedPause = 10 * time.Second // after a poll that was refused
	goodbyeTime  = 15 * time.Second // for last reports, when the agent is to end at once
)

var errKilled = errors.New("the runner is shut down")

// agent is an agent at work.
type agent struct {
	o      *Options
	client *client
	stats  *stats
	life   context.Context // of calls about workflows, which outlive the polling

	mu      sync.Mutex
	running map[string]bool // ids of workflows
}

// Run works for a server until ctx ends; workflows that run then are run to their end, unless
// Options.Kill is closed. The error says why the agent cannot work at all.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	id, err := readAgentFile(o.AgentFile)
	if err != nil {
		return err
	}
	s := newStats(o.MaxWorkflows)
	client, err := newClient(&o, id, s)
	if err != nil {
		return err
	}
	life, endLife := context.WithCancelCause(context.WithoutCancel(ctx))
	a := &agent{o: &o, client: client, stats: s, life: life, running: map[string]bool{}}
	defer client.conn.Close()
	defer endLife(nil)
	return a.run(ctx, endLife)
}

func (a *agent) run(ctx context.Context, endLife context.CancelCauseFunc) error {
	background, endBackground := context.WithCancel(a.life)
	var others sync.WaitGroup
	defer others.Wait()
	defer endBackground()
	others.Go(func() { a.killed(background, endLife) })
	healthFailed := make(chan error, 1)
	if a.o.HealthAddress != "" {
		others.Go(func() {
			healthFailed <- health.Serve(background, a.o.HealthAddress, health.Runner{Healthy: a.stats.healthy, Metrics: a.stats.metrics}, a.o.Listening)
		})
	}
	if err := a.register(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	others.Go(func() { a.sayAlive(background) })
	polling, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var pollers sync.WaitGroup
	for range a.o.MaxWorkflows {
		pollers.Go(func() { a.poll(polling, stop) })
	}
	ended := make(chan struct{})
	go func() { pollers.Wait(); close(ended) }()
	var err error
	select {
	case err = <-healthFailed:
		stop(err)
		<-ended
	case <-ended:
		if cause := context.Cause(polling); errors.Is(cause, errGaveUp) {
			err = cause
		}
	}
	return errors.Join(err, a.unregister())
}

// killed ends the life of all calls some time after the agent was told to end at once.
func (a *agent) killed(ctx context.Context, endLife context.CancelCauseFunc) {
	select {
	case <-a.o.Kill:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(goodbyeTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		endLife(errKilled)
	case <-ctx.Done():
	}
}

// register makes the agent known to the server.
func (a *agent) register(ctx context.Context) error {
	version, err := call(ctx, a.client, false, a.client.calls.Version, &wire.Empty{})
	if err != nil {
		return fmt.Errorf("work for %s: %w", a.o.Server, err)
	}
	if version.GetGrpcVersion() != protocol {
		a.o.Say(fmt.Sprintf("warning: server %s speaks version %d of the protocol, and this agent was written for %d",
			version.GetServerVersion(), version.GetGrpcVersion(), protocol))
	}
	answer, err := call(ctx, a.client, false, a.client.calls.RegisterAgent, &wire.RegisterAgentRequest{Info: &wire.AgentInfo{
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
	a.o.Say(fmt.Sprintf("agent %d of %s (version %s), %d at once", answer.GetAgentId(), a.o.Server, version.GetServerVersion(), a.o.MaxWorkflows))
	return nil
}

// unregister takes an agent without a file off the server's list.
func (a *agent) unregister() error {
	if a.o.AgentFile != "" || a.client.lost.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(a.life, goodbyeTime)
	defer cancel()
	if _, err := call(ctx, a.client, false, a.client.calls.UnregisterAgent, &wire.Empty{}); err != nil {
		return fmt.Errorf("unregister at %s: %w", a.o.Server, err)
	}
	return nil
}

// sayAlive tells the server that the agent lives.
func (a *agent) sayAlive(ctx context.Context) {
	ticker := time.NewTicker(alivePeriod)
	defer ticker.Stop()
	for {
		_, err := call(ctx, a.client, false, a.client.calls.ReportHealth, &wire.ReportHealthRequest{Status: "I am alive!"})
		if err != nil && ctx.Err() == nil {
			a.o.Say("warning: the server does not take the sign of life: " + err.Error())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// poll asks for workflows and runs them, one after the other, until ctx ends.
func (a *agent) poll(ctx context.Context, stop context.CancelCauseFunc) {
	for ctx.Err() == nil {
		answer, err := call(ctx, a.client, true, a.client.calls.Next, &wire.NextRequest{Filter: &wire.Filter{Labels: a.o.labels()}})
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errGaveUp):
			stop(err)
			return
		case err != nil:
			a.o.Say("warning: the server gives no work: " + err.Error())
			pause(ctx, refusedPause)
			continue
		case answer.GetWorkflow().GetId() == "":
			pause(ctx, pollPause)
			continue
		}
		if !a.begin(answer.GetWorkflow().GetId()) {
			continue // a server that was restarted gives out again what runs here still
		}
		a.runWorkflow(answer.GetWorkflow())
		a.end(answer.GetWorkflow().GetId())
		if a.o.SingleWorkflow {
			stop(nil)
		}
	}
}

// begin notes that a workflow runs here, and reports whether it did not before.
func (a *agent) begin(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running[id] {
		return false
	}
	a.running[id] = true
	a.stats.running.Add(1)
	return true
}

func (a *agent) end(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, id)
	a.stats.running.Add(-1)
}

func pause(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

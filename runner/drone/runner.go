package drone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stepexec/stepexec/runner/health"
)

// goodbyeTime is for last reports, when the runner is to end at once.
const goodbyeTime = 15 * time.Second

var (
	errKilled    = errors.New("the runner was shut down")
	errCancelled = errors.New("cancelled on the server")
)

// worker is a runner at work.
type worker struct {
	o      *Options
	client *client
	stats  *stats
	life   context.Context // of calls about stages, which outlive the polling
}

// Run works for a server until ctx ends; stages that run then are run to their end, unless
// Options.Kill is closed. The error says why the runner cannot work at all.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	c := newClient(&o)
	defer c.close()
	life, endLife := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endLife(nil)
	w := &worker{o: &o, client: c, stats: newStats(&o, c), life: life}
	return w.run(ctx, endLife)
}

func (w *worker) run(ctx context.Context, endLife context.CancelCauseFunc) error {
	polling, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var others sync.WaitGroup
	background, endBackground := context.WithCancel(w.life)
	defer others.Wait()
	defer endBackground()
	others.Go(func() { w.endWhenKilled(background, endLife) })
	if w.o.HealthAddress != "" {
		others.Go(func() {
			r := health.Runner{Healthy: w.stats.healthy, Metrics: w.stats.metrics}
			if err := health.Serve(background, w.o.HealthAddress, r, w.o.Listening); err != nil {
				stop(err)
			}
		})
	}
	if err := w.client.ping(polling); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("work for %s: %w", w.o.Server, err)
	}
	w.o.Say(fmt.Sprintf("runner %s works for %s, %d at once", w.o.Name, w.o.Server, w.o.Capacity))
	return w.poll(polling, ctx)
}

// endWhenKilled ends the life of all calls some time after the runner was told to end at once.
func (w *worker) endWhenKilled(ctx context.Context, endLife context.CancelCauseFunc) {
	select {
	case <-w.o.Kill:
	case <-ctx.Done():
		return
	}
	if sleep(ctx, goodbyeTime) {
		endLife(errKilled)
	}
}

// poll asks for stages, one poll at a time, as long as there is room for one. It returns when
// asked no more and all stages have ended.
func (w *worker) poll(polling, ctx context.Context) error {
	wanted := &request{Kind: "pipeline", Type: "docker", OS: w.o.OS, Arch: w.o.Arch, Variant: w.o.Variant, Kernel: w.o.Kernel, Labels: w.o.Labels}
	room := make(chan struct{}, w.o.Capacity)
	var stages sync.WaitGroup
	defer stages.Wait()
	for {
		select {
		case room <- struct{}{}:
		case <-polling.Done():
			return cause(polling, ctx)
		}
		s, err := w.client.next(polling, wanted)
		switch {
		case err == nil && s.ID != 0:
			stages.Go(func() {
				defer func() { <-room }()
				w.runStage(s)
			})
			continue
		case polling.Err() != nil:
			return cause(polling, ctx)
		case err != nil && !errors.Is(err, errNothing):
			w.o.Say("warning: the server gives no work: " + err.Error())
			sleep(polling, w.client.pause)
		}
		<-room
	}
}

// cause is nil where the runner was told to end.
func cause(polling, ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(polling)
}

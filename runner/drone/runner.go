package drone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/health"
	"github.com/stepexec/stepexec/runner/journal"
)

// silence is the time without an answer after which the runner counts as sick: three long
// polls.
const silence = 2 * time.Minute

// offeredPause is the pause after the offer of a stage that this runner is about to claim.
const offeredPause = time.Second

// worker is a runner at work.
type worker struct {
	o       *Options
	client  *client
	stats   *runner.Stats
	life    *runner.Life
	journal *journal.Folder // nil: nothing is kept on disk
	room    chan struct{}   // an element for each stage that runs, and for the poll
	stages  sync.WaitGroup  // that run

	running runner.Running[int64] // by the numbers of stages
}

// Run works for a server until ctx ends, and lets the stages that run then come to their end,
// unless Options.Kill is closed. The error says why the runner cannot work at all.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	stats := runner.NewStats("stage", o.Capacity, silence)
	c := newClient(&o, stats)
	defer c.close()
	w := &worker{o: &o, client: c, stats: stats, room: make(chan struct{}, o.Capacity)}
	if o.State != "" {
		var err error
		if w.journal, err = journal.Open(o.State, "drone "+o.Server+" "+o.Name, func(err error) { o.Say("warning: " + err.Error()) }); err != nil {
			return err
		}
	}
	service := runner.Service{
		Kill: o.Kill, HealthAddress: o.HealthAddress, HealthByDefault: o.HealthByDefault, Listening: o.Listening, Say: o.Say,
		Health: health.Runner{Healthy: w.healthy, Metrics: stats.Metrics},
	}
	return service.Run(ctx, w.run)
}

// healthy returns nil while the server answers, and while the runner asks for nothing because
// it has enough to do.
func (w *worker) healthy() error {
	if w.stats.IsFull() {
		return nil
	}
	return w.stats.Healthy()
}

func (w *worker) run(life *runner.Life) error {
	w.life = life
	if err := w.client.ping(life.Polling); err != nil {
		if life.Polling.Err() != nil {
			return nil
		}
		return fmt.Errorf("work for %s: %w", w.o.Server, err)
	}
	w.o.Say(fmt.Sprintf("runner %s works for %s, %d at once", w.o.Name, w.o.Server, w.o.Capacity))
	defer w.stages.Wait()
	left := w.left()
	w.stages.Go(func() { w.deliver(life.Polling, left) })
	w.poll(life.Polling)
	return nil
}

// poll asks for stages while there is room for one more, one request at a time, until ctx ends.
func (w *worker) poll(ctx context.Context) {
	wanted := &request{Kind: "pipeline", Type: "docker", OS: w.o.OS, Arch: w.o.Arch, Variant: w.o.Variant, Kernel: w.o.Kernel, Labels: w.o.Labels}
	for {
		select {
		case w.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		s, err := w.client.next(ctx, wanted)
		switch {
		case err == nil && !w.running.Begin(s.ID):
			runner.Pause(ctx, offeredPause)
		case err == nil:
			w.stages.Go(func() {
				defer func() { <-w.room }()
				defer w.running.End(s.ID)
				w.runStage(s)
			})
			continue
		case ctx.Err() != nil:
			return
		case !errors.Is(err, errNothing):
			w.o.Say("warning: the server gives no work: " + err.Error())
			runner.Pause(ctx, w.client.pause)
		}
		<-w.room
	}
}

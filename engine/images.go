package engine

import (
	"context"
	"sync"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// images fetches every image of a run once, ahead of the steps that need it.
// The fetches belong to the run: a step whose time is over does not take away
// the image from the others.
type images struct {
	run     *run
	ctx     context.Context // of the run; set by prefetch
	all     sync.WaitGroup  // its goroutines
	mu      sync.Mutex
	fetches map[imageKey]*fetch
}

type imageKey struct {
	reference, platform string
	policy              pipeline.PullPolicy
}

type fetch struct {
	done  chan struct{}
	image *Image
	err   error
}

func newImages(r *run) *images {
	return &images{run: r, fetches: map[imageKey]*fetch{}}
}

// prefetch fetches images in the order of the steps that need them, but for
// steps that run only after a failure, until ctx ends. The fetches themselves live
// as long as always; the returned function ends them.
func (im *images) prefetch(ctx, always context.Context, nodes []*node) (stop func()) {
	var cancel context.CancelFunc
	im.ctx, cancel = context.WithCancel(always)
	slots := make(chan struct{}, parallelPulls)
	im.all.Go(func() {
		for _, n := range nodes {
			if n.done != nil || !n.service && !n.step.RunOn.Success {
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			case <-im.ctx.Done():
				return
			}
			f := im.start(n.step)
			im.all.Go(func() {
				<-f.done
				<-slots
			})
		}
	})
	return func() {
		cancel()
		im.all.Wait()
	}
}

// get returns a step's image, waiting for its fetch until ctx ends.
func (im *images) get(ctx context.Context, step *pipeline.PlannedStep) (*Image, error) {
	f := im.start(step)
	select {
	case <-f.done:
		return f.image, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// start begins to fetch a step's image, if that was not begun before.
func (im *images) start(step *pipeline.PlannedStep) *fetch {
	im.mu.Lock()
	defer im.mu.Unlock()
	key := imageKey{step.Image, step.Platform, step.Pull}
	f, ok := im.fetches[key]
	if !ok {
		f = &fetch{done: make(chan struct{})}
		im.fetches[key] = f
		im.all.Go(func() {
			defer close(f.done)
			defer crash.Recover(&f.err)
			f.image, f.err = im.fetch(step)
		})
	}
	return f
}

func (im *images) fetch(step *pipeline.PlannedStep) (*Image, error) {
	fetcher := im.run.o.Fetcher.For(step.Platform)
	also := fetcher.Events
	fetcher.Events = func(e event.Event) {
		im.run.emit(e)
		if also != nil {
			e.Image, e.Error = im.run.fixed.String(e.Image), im.run.mask.String(e.Error)
			also(e)
		}
	}
	image, err := fetcher.Fetch(im.ctx, step.Image, step.Pull)
	if err == nil && image.Warning != "" {
		im.run.emit(event.Event{Kind: event.Warning, Text: image.Warning})
	}
	return image, err
}

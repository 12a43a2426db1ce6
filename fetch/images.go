package fetch

import (
	"context"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/crash"
)

// parallelPulls bounds how many images are fetched ahead at once. Each of them
// unpacks its layers in parallel; two keep a link and the cores busy.
const parallelPulls = 2

// Wanted is an image that a step needs.
type Wanted struct {
	Reference string
	Platform  string // "" is the fetcher's
	Policy    container.PullPolicy
}

// Images fetches every image of a run once, ahead of the steps that need it.
// The fetches belong to the run: a step that times out does not cancel the
// fetch for the other steps. Its methods may be called by several goroutines.
type Images struct {
	fetcher *Fetcher
	warn    func(text string)
	ctx     context.Context // ends every fetch
	cancel  context.CancelFunc
	all     sync.WaitGroup // goroutines
	mu      sync.Mutex     // guards fetches
	fetches map[Wanted]*pending
}

// pending is a fetch that has begun.
type pending struct {
	done  chan struct{} // closed once image and err are final
	image *Image
	err   error

	known  chan struct{}  // closed once config is final
	config *ocispec.Image // nil: the fetch failed before it was known
	once   sync.Once      // for known
}

func (p *pending) know(config *ocispec.Image) {
	p.once.Do(func() {
		p.config = config
		close(p.known)
	})
}

// NewImages returns Images whose fetches end with ctx. Each image's warning,
// if it has one, goes to warn once. The caller must call Close.
func NewImages(ctx context.Context, fetcher *Fetcher, warn func(text string)) *Images {
	im := &Images{fetcher: fetcher, warn: warn, fetches: map[Wanted]*pending{}}
	im.ctx, im.cancel = context.WithCancel(ctx)
	return im
}

// Close cancels the fetches and waits for them.
func (im *Images) Close() {
	im.cancel()
	im.all.Wait()
}

// Prefetch returns at once and fetches the images in the given order, two at a
// time. When ctx ends, no further fetch begins.
func (im *Images) Prefetch(ctx context.Context, wanted []Wanted) {
	slots := make(chan struct{}, parallelPulls)
	im.all.Go(func() {
		for _, w := range wanted {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			case <-im.ctx.Done():
				return
			}
			p := im.start(w)
			im.all.Go(func() {
				<-p.done
				<-slots
			})
		}
	})
}

// Get returns an image. It begins to fetch the image unless that has begun, and
// waits until the fetch or ctx ends.
func (im *Images) Get(ctx context.Context, w Wanted) (*Image, error) {
	p := im.start(w)
	select {
	case <-p.done:
		return p.image, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Config returns the configuration of an image, which is known before its layers are there. It
// begins to fetch the image unless that has begun, and waits until the configuration is known or ctx
// ends.
func (im *Images) Config(ctx context.Context, w Wanted) (*ocispec.Image, error) {
	p := im.start(w)
	select {
	case <-p.known:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if p.config != nil {
		return p.config, nil
	}
	<-p.done // at once: the fetch has failed
	return nil, p.err
}

// start begins to fetch an image unless that has begun.
func (im *Images) start(w Wanted) *pending {
	im.mu.Lock()
	defer im.mu.Unlock()
	p, ok := im.fetches[w]
	if !ok {
		p = &pending{done: make(chan struct{}), known: make(chan struct{})}
		im.fetches[w] = p
		im.all.Go(func() {
			defer close(p.done)
			defer p.know(nil)
			defer crash.Recover(&p.err)
			if p.image, p.err = im.fetch(w, p.know); p.err == nil {
				p.know(&p.image.Config)
			}
		})
	}
	return p
}

func (im *Images) fetch(w Wanted, know func(*ocispec.Image)) (*Image, error) {
	fetcher := im.fetcher.For(w.Platform)
	fetcher.known = know
	image, err := fetcher.Fetch(im.ctx, w.Reference, w.Policy)
	if err == nil && image.Warning != "" {
		im.warn(image.Warning)
	}
	return image, err
}

package engine

import (
	"context"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
)

// newImages returns the images of a run, whose fetches end with ctx.
func (r *run) newImages(ctx context.Context) *fetch.Images {
	fetcher := *r.o.Fetcher
	fetcher.Options.Roots = r.roots()
	also := fetcher.Events
	fetcher.Events = func(e event.Event) {
		r.emit(e)
		if also != nil {
			e.Image, e.Error = r.fixed.String(e.Image), r.mask.String(e.Error)
			also(e)
		}
	}
	return fetch.NewImages(ctx, &fetcher, func(text string) {
		r.emit(event.Event{Kind: event.Warning, Text: text})
	})
}

// wanted returns the image that a step needs.
func wanted(step *pipeline.PlannedStep) fetch.Wanted {
	return fetch.Wanted{Reference: step.Image, Platform: step.Platform, Policy: fetch.Policy(step.Pull)}
}

// prefetched returns the images to fetch ahead, in the order of the steps that
// need them. It omits images of steps that run only after a failure.
func prefetched(nodes []*node) []fetch.Wanted {
	var images []fetch.Wanted
	for _, n := range nodes {
		if n.done == nil && (n.service || n.step.RunOn.Success) {
			images = append(images, wanted(n.step))
		}
	}
	return images
}

// image returns a step's image. A step with credentials of its own fetches with them.
func (r *run) image(ctx context.Context, n *node) (*fetch.Image, error) {
	if n.extra == nil || n.extra.Keychain == nil {
		return r.images.Get(ctx, wanted(n.step))
	}
	fetcher := r.o.Fetcher.For(n.step.Platform)
	fetcher.Options.Keychain, fetcher.Options.Roots = n.extra.Keychain, r.roots()
	return fetcher.Fetch(ctx, n.step.Image, fetch.Policy(n.step.Pull))
}

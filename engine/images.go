package engine

import (
	"cmp"
	"context"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
)

// newImages returns the images of a run, whose fetches end with ctx.
func (r *run) newImages(ctx context.Context) *fetch.Images {
	r.places = r.imagePlaces()
	fetcher := r.fetcher()
	also := fetcher.Events
	fetcher.Events = func(e event.Event) {
		r.emit(e)
		if also != nil {
			e.Image, e.Error = r.fixed.String(e.Image), r.mask.String(e.Error)
			also(e)
		}
	}
	return fetch.NewImages(ctx, fetcher, func(text string) {
		r.emit(event.Event{Kind: event.Warning, Text: text})
	})
}

// fetcher returns the run's own fetcher: it opens images of this machine where the policy lets it,
// and asks for the signatures that the policy wants.
func (r *run) fetcher() *fetch.Fetcher {
	fetcher := *r.o.Fetcher
	fetcher.Options.Place, fetcher.Verify = r.places, r.admitted.Signatures()
	return &fetcher
}

// imagePlaces returns where the images are that are files of this machine. In a trusted
// pipeline, links on the way to them may lead out of the workspace as they are now, before any
// step of the run; of what a step puts there, none may. A policy has resolved such links itself.
func (r *run) imagePlaces() func(path string) beneath.Path {
	real := map[string]string{}
	for _, n := range r.nodes {
		ref, err := pull.ParseReference(n.step.Image)
		if err != nil || ref.Path == "" || r.admitted.Confined() {
			continue
		}
		path := ref.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.o.Fetcher.Dir, path)
		}
		if path, err = filepath.Abs(path); err != nil {
			continue
		}
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			real[path] = resolved
		}
	}
	roots := r.roots()
	return func(path string) beneath.Path {
		return beneath.At(cmp.Or(real[path], path), roots...)
	}
}

// wanted returns the image that a step needs.
func wanted(step *pipeline.PlannedStep) fetch.Wanted {
	return fetch.Wanted{Reference: step.Image, Platform: step.Platform, Policy: step.Pull}
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

// imageConfig returns the configuration of a step's image, if it can before the image is there.
func (r *run) imageConfig(ctx context.Context, n *node) (*ocispec.Image, error) {
	if n.extra == nil || n.extra.Keychain == nil {
		return r.images.Config(ctx, wanted(n.step))
	}
	image, err := r.image(ctx, n)
	if err != nil {
		return nil, err
	}
	return &image.Config, nil
}

// image returns a step's image. A step with credentials of its own fetches with them.
func (r *run) image(ctx context.Context, n *node) (*fetch.Image, error) {
	if n.extra == nil || n.extra.Keychain == nil {
		return r.images.Get(ctx, wanted(n.step))
	}
	fetcher := r.fetcher().For(n.step.Platform)
	fetcher.Options.Keychain = n.extra.Keychain
	return fetcher.Fetch(ctx, n.step.Image, n.step.Pull)
}

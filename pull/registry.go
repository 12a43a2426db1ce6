package pull

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
)

// registry is the place of one repository of a registry and of its mirrors.
type registry struct {
	ref       Reference
	endpoints []*endpoint        // in the order to be asked, the registry itself last
	root      ocispec.Descriptor // of the document that the reference names
	rawRoot   []byte
	ranges    Ranges
	parallel  *semaphore.Weighted // of layers that come in parts

	mu     sync.Mutex
	served map[digest.Digest]int // layers delivered in full, and how many endpoints have done so
	told   map[*endpoint]string  // mirrors that were left out, see leftOut
}

func openRegistry(ref Reference, o Options) (*registry, error) {
	r := &registry{
		ref: ref, ranges: o.Ranges.withDefaults(), parallel: semaphore.NewWeighted(parallelLayers),
		served: make(map[digest.Digest]int), told: make(map[*endpoint]string),
	}
	host, path, _ := strings.Cut(ref.Name, "/")
	for _, mirror := range o.Registries.host(host).Mirrors {
		e, err := newEndpoint(mirror+"/"+path, o)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("mirror %s: %w", mirror, err)
		}
		e.mirror = true
		r.endpoints = append(r.endpoints, e)
	}
	e, err := newEndpoint(ref.Name, o)
	if err != nil {
		r.close()
		return nil, err
	}
	r.endpoints = append(r.endpoints, e)
	return r, nil
}

// Close closes idle connections.
func (r *registry) Close() error {
	r.close()
	return nil
}

func (r *registry) close() {
	for _, e := range r.endpoints {
		e.close()
	}
}

// roots reads the document that the reference names and keeps it for manifest. What
// a mirror says a tag is counts: to compare it with the registry's would need the
// registry, which the mirror may be there to replace.
func (r *registry) roots(ctx context.Context) ([]ocispec.Descriptor, error) {
	got, err := r.document(ctx, "manifests/"+cmp.Or(r.ref.Digest.String(), r.ref.Tag), r.ref.Digest, isDocument)
	if err != nil {
		return nil, err
	}
	r.rawRoot = got.raw
	r.root = ocispec.Descriptor{
		MediaType: got.mediaType,
		Digest:    digest.FromBytes(got.raw),
		Size:      int64(len(got.raw)),
	}
	return []ocispec.Descriptor{r.root}, nil
}

// isDocument keeps the page of a portal or a proxy from passing for a tag's manifest
// while there is another endpoint to ask.
func isDocument(e *endpoint, got fetched) error {
	if !e.mirror {
		return nil // the caller parses it
	}
	_, err := parseDocument(got.mediaType, got.raw)
	return err
}

func (r *registry) manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Digest == r.root.Digest {
		return r.rawRoot, nil
	}
	got, err := r.document(ctx, "manifests/"+d.Digest.String(), d.Digest, anything)
	return got.raw, err
}

func (r *registry) config(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	got, err := r.document(ctx, "blobs/"+d.Digest.String(), d.Digest, anything)
	return got.raw, err
}

func anything(*endpoint, fetched) error { return nil }

// document asks one endpoint after the other.
func (r *registry) document(ctx context.Context, path string, want digest.Digest, check func(*endpoint, fetched) error) (fetched, error) {
	return ask(ctx, r, func(e *endpoint) (fetched, error) {
		got, err := e.document(ctx, path, want)
		if err == nil {
			err = check(e, got)
		}
		return got, err
	})
}

// ask puts a question to one endpoint after the other until one answers it. The error
// is the registry's own, with what the mirrors said.
func ask[T any](ctx context.Context, r *registry, question func(*endpoint) (T, error)) (T, error) {
	var failed []failedMirror
	for _, e := range r.sources("") {
		answer, err := question(e)
		if err == nil {
			r.leftOut(failed, e)
			return answer, nil
		}
		if context.Cause(ctx) != nil {
			return answer, err
		}
		if e.mirror {
			failed = append(failed, failedMirror{e, err})
			continue
		}
		if len(failed) > 0 {
			err = fmt.Errorf("%w (%s)", err, listFailed(failed))
		}
		return answer, err
	}
	panic("the registry itself is always there")
}

// sources returns the endpoints to ask, without mirrors that are down. A layer that
// is opened again after it was delivered in full did not please its reader, so the
// endpoint that delivered it is left out too.
func (r *registry) sources(layer digest.Digest) []*endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.endpoints) - 1
	var up []*endpoint
	for i, e := range r.endpoints {
		if i == last || i >= r.served[layer] && !e.down.Load() {
			up = append(up, e)
		}
	}
	return up
}

// delivered remembers that this endpoint sent all of the layer.
func (r *registry) delivered(layer digest.Digest, by *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range r.endpoints {
		if e == by {
			r.served[layer] = i + 1
		}
	}
}

func (r *registry) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	var stream interface {
		io.ReadCloser
		open() error // makes the first request
	}
	sources := r.sources(d.Digest)
	if d.Size > r.ranges.Above {
		stream = newParallel(ctx, r, d, sources)
	} else {
		stream = newDownload(ctx, r, d, 0, sources)
	}
	if err := stream.open(); err != nil {
		_ = stream.Close() // it has nothing more to say
		return nil, err
	}
	return stream, nil
}

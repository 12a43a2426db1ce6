package pull

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
)

// registry is one repository, served by a registry and its mirrors.
type registry struct {
	ref       Reference
	endpoints []*endpoint        // in the order of requests, the registry itself last
	root      ocispec.Descriptor // of the document that the reference names
	rawRoot   []byte
	ranges    Ranges
	parallel  *semaphore.Weighted // limits the layers that are fetched in parts

	mu     sync.Mutex
	served map[digest.Digest]delivery // layers that were delivered completely
	told   map[*endpoint]string       // mirrors that were skipped: see leftOut
}

func openRegistry(ref Reference, o Options) (*registry, error) {
	r := &registry{
		ref: ref, ranges: o.Ranges.withDefaults(), parallel: semaphore.NewWeighted(parallelLayers),
		served: make(map[digest.Digest]delivery), told: make(map[*endpoint]string),
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

// roots reads the document that the reference names and keeps it for manifest. A mirror's answer
// for a tag is trusted: comparing it with the registry's would need the registry, which the mirror
// may be there to replace.
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

// isDocument rejects the HTML page of a portal or a proxy as a tag's manifest, as long as there is
// another endpoint to ask.
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
		if err != nil && strings.HasPrefix(path, "manifests/") {
			e.lacks.Store(true)
		}
		return got, err
	})
}

// ask puts a question to one endpoint after the other until one answers. The error is the
// registry's own, with the errors of the mirrors added.
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

// sources returns the endpoints to ask, without mirrors that are down or lack the image. If a layer
// is opened again after a complete delivery, its content was wrong, so the endpoint that delivered
// it is left out too.
func (r *registry) sources(layer digest.Digest) []*endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, tried := len(r.endpoints)-1, r.served[layer].tried()
	var up []*endpoint
	for i, e := range r.endpoints {
		if i == last || i >= tried && !e.down.Load() && !e.lacks.Load() {
			up = append(up, e)
		}
	}
	return up
}

// delivery records how a layer was last delivered completely.
type delivery struct {
	endpoint int  // index of the endpoint that sent the last byte, plus one; 0: not delivered
	ranges   bool // it was assembled from range requests
	single   bool // ranges were not allowed
}

// tried returns the number of endpoints that must not be asked again. An endpoint whose ranges may
// be the cause gets another chance, over a single connection.
func (d delivery) tried() int {
	if d.ranges && !d.single {
		return d.endpoint - 1
	}
	return d.endpoint
}

// delivered records that this endpoint sent the layer to its end.
func (r *registry) delivered(layer digest.Digest, by *endpoint, ranges bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.served[layer]
	i := slices.Index(r.endpoints, by) + 1
	r.served[layer] = delivery{endpoint: i, ranges: ranges, single: before.endpoint == i && before.ranges && !before.single}
}

// single reports whether the layer must come over one connection, without ranges.
func (r *registry) single(layer digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.served[layer]
	return d.ranges && !d.single
}

// again reports whether a layer that came completely but with wrong content has another source, and
// records the mirror that damaged it.
func (r *registry) again(layer digest.Digest) bool {
	r.mu.Lock()
	d := r.served[layer]
	r.mu.Unlock()
	if d.endpoint == 0 || d.tried() == len(r.endpoints) {
		return false
	}
	if e := r.endpoints[d.endpoint-1]; e.mirror && d.tried() == d.endpoint {
		reason := &failure{fmt.Sprintf("it sent other bytes than those of layer %s", layer), nil}
		r.leftOut([]failedMirror{{e, reason}}, r.sources(layer)[0])
	}
	return true
}

func (r *registry) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	var stream interface {
		io.ReadCloser
		open() error // makes the first request
	}
	sources := r.sources(d.Digest)
	switch {
	case r.single(d.Digest):
		one := newDownload(ctx, r, d, 0, sources)
		one.single = true
		stream = one
	case d.Size > r.ranges.Above:
		stream = newParallel(ctx, r, d, sources)
	default:
		stream = newDownload(ctx, r, d, 0, sources)
	}
	if err := stream.open(); err != nil {
		_ = stream.Close() // its error would add nothing
		return nil, err
	}
	return stream, nil
}

package pull

import (
	"cmp"
	"context"
	"io"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxStreams is how many layers of an image may be open at once. The library's own
// limit of 4 would block a consumer that opens all layers before it reads one.
const maxStreams = maxLayers + 1

// retries waits 0.5 and then 1.5 s after transient errors: enough for a restarting
// proxy, and a registry that is out of order is still reported within seconds.
var retries = remote.Backoff{Duration: 500 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}

// registry is the place of one repository of a registry.
type registry struct {
	ref         Reference
	repository  name.Repository
	puller      *remote.Puller
	credentials *credentials
	root        ocispec.Descriptor // of the document that the reference names
	rawRoot     []byte
	close       func()
}

func openRegistry(ref Reference, o Options) (*registry, error) {
	var options []name.Option
	if isLoopback(hostname(ref.registry())) {
		options = append(options, name.Insecure) // TLS is tried first all the same
	}
	repository, err := name.NewRepository(ref.Name, options...)
	if err != nil {
		return nil, err
	}
	keychain := o.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	r := &registry{ref: ref, repository: repository, credentials: &credentials{keychain: keychain}, close: func() {}}
	transport := o.Transport
	if transport == nil {
		own := NewTransport()
		transport, r.close = own, own.CloseIdleConnections
	}
	r.puller, err = remote.NewPuller(
		remote.WithTransport(&guard{transport}),
		remote.WithAuthFromKeychain(r.credentials),
		remote.WithUserAgent("stepexec"),
		remote.WithJobs(maxStreams),
		remote.WithPageSize(1),
		remote.WithRetryBackoff(retries),
	)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// hostname returns HOST of HOST or HOST:PORT, without the brackets of IPv6.
func hostname(hostport string) string {
	return (&url.URL{Host: hostport}).Hostname()
}

func (r *registry) Close() error {
	r.close()
	return nil
}

// roots reads the document that the reference names and keeps it for manifest.
func (r *registry) roots(ctx context.Context) ([]ocispec.Descriptor, error) {
	var ref name.Reference = r.repository.Tag(r.ref.Tag)
	if r.ref.Digest != "" {
		ref = r.repository.Digest(r.ref.Digest.String())
	}
	got, err := r.puller.Get(withBodyLimit(ctx, maxDocument), ref)
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	r.rawRoot = got.Manifest
	r.root = ocispec.Descriptor{
		MediaType: string(got.MediaType),
		Digest:    cmp.Or(r.ref.Digest, digest.FromBytes(got.Manifest)),
		Size:      int64(len(got.Manifest)),
	}
	return []ocispec.Descriptor{r.root}, nil
}

func (r *registry) manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Digest == r.root.Digest {
		return r.rawRoot, nil
	}
	got, err := r.puller.Get(withBodyLimit(ctx, maxDocument), r.repository.Digest(d.Digest.String()))
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	return got.Manifest, nil
}

func (r *registry) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	layer, err := r.puller.Layer(ctx, r.repository.Digest(d.Digest.String()))
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	stream, err := layer.Compressed()
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	return &cancellable{stream, ctx}, nil
}

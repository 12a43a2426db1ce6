package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// endpoint is one host that serves a repository: the registry or a mirror.
type endpoint struct {
	repository  name.Repository
	mirror      bool
	credentials *credentials
	transport   http.RoundTripper
	stall       time.Duration // longest time without data
	retryWait   time.Duration // wait after a first failure
	close       func()        // closes idle connections
	// down is set when the last attempt could not reach the endpoint or found it out of order. A
	// mirror that is down is not asked again for this image.
	down atomic.Bool
	// lacks is set when a mirror has not sent a manifest of the image, for whatever reason. It is
	// then not asked for the image's blobs either.
	lacks atomic.Bool

	turn   chan struct{} // holds one token while client is used or created
	client *http.Client  // nil before the first contact
}

// newEndpoint returns the endpoint of a repository, such as docker.io/library/golang.
func newEndpoint(repository string, o Options) (*endpoint, error) {
	var options []name.Option
	host, _, _ := strings.Cut(repository, "/")
	settings := o.Registries.host(host)
	if isLoopback(hostname(host)) && !settings.usesTLS() {
		options = append(options, name.Insecure) // TLS is still tried first
	}
	parsed, err := name.NewRepository(repository, options...)
	if err != nil {
		return nil, err
	}
	g := newGuard(o, parsed.RegistryStr())
	// A setting that cannot be used is an error, never a reason to continue without it.
	if _, err := g.transport(host); err != nil {
		g.close()
		return nil, err
	}
	keychain := o.Keychain
	if keychain == nil {
		keychain = machineKeychain(cmp.Or(o.HelperTimeout, defaultHelperTimeout))
	}
	return &endpoint{
		repository:  parsed,
		credentials: &credentials{keychain: keychain},
		transport:   transport.NewUserAgent(&greeter{g}, "stepexec"),
		stall:       stallTimeout(settings, o),
		retryWait:   o.RetryWait,
		close:       g.close,
		turn:        make(chan struct{}, 1),
	}, nil
}

// hostname returns HOST of HOST or HOST:PORT, without the brackets of IPv6.
func hostname(hostport string) string {
	return (&url.URL{Host: hostport}).Hostname()
}

func (e *endpoint) attempts(most int) attempts {
	if e.mirror {
		most = mirrorAttempts
	}
	return attempts{most: most, first: e.retryWait, hasty: e.mirror}
}

// connect gets the credentials, makes the first contact and authenticates, once. known says that
// this had been done before.
func (e *endpoint) connect(ctx context.Context) (client *http.Client, known bool, err error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	if e.client != nil {
		return e.client, true, nil
	}
	auth, err := e.credentials.ResolveContext(ctx, e.repository)
	if err != nil {
		return nil, false, err
	}
	scopes := []string{e.repository.Scope(transport.PullScope)}
	ctx = withBodyLimit(ctx, maxDocument)
	authenticated, err := transport.NewWithContext(ctx, e.repository.Registry, auth, e.transport, scopes)
	if err != nil {
		return nil, false, err
	}
	e.client = &http.Client{Transport: authenticated, CheckRedirect: followAll}
	return e.client, false, nil
}

// followAll leaves redirects to the guard, which sees each request.
func followAll(*http.Request, []*http.Request) error { return nil }

// get requests a path below the repository, such as manifests/latest. Reading the response's body
// fails when the registry stalls; the caller closes the body.
func (e *endpoint) get(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	w := newWatch(ctx, e.stall)
	resp, err := e.send(w.ctx, path, header)
	if err != nil {
		err = w.cause(err)
		w.stop()
		return nil, err
	}
	return watched(resp, w), nil
}

func (e *endpoint) send(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	client, known, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := e.request(ctx, client, http.MethodGet, path, header)
	if err != nil && known {
		return nil, lost(err)
	}
	return resp, err
}

// lost marks a failure without an answer from an endpoint that has answered before.
func lost(err error) error {
	if errors.As(err, new(*transport.Error)) {
		return err
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// request makes one request. Any answer other than success is a *transport.Error.
func (e *endpoint) request(ctx context.Context, client *http.Client, method, path string, header http.Header) (*http.Response, error) {
	u := fmt.Sprintf("%s://%s/v2/%s/%s", e.repository.Scheme(), e.repository.RegistryStr(), e.repository.RepositoryStr(), path)
	r, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, err
	}
	r.Header = header.Clone()
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		// The library forgets the status of an answer that is longer than it reads.
		resp.Body = &shortBody{io.LimitReader(resp.Body, maxErrorBody), resp.Body}
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	return resp, nil
}

// maxErrorBody bounds what is read of an answer that reports an error, in bytes.
const maxErrorBody = 32 << 10

// shortBody is the beginning of a body.
type shortBody struct {
	io.Reader
	io.Closer
}

// fetched is a manifest, an index or a configuration as an endpoint sent it.
type fetched struct {
	raw       []byte
	mediaType string
}

// manifestTypes is the Accept header. It lists all types, so that the registry converts none of
// them.
var manifestTypes = strings.Join([]string{
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList, dockerSigned1, dockerSchema1,
}, ", ")

// document reads a manifest, an index or a configuration, and retries after transient failures.
// want is its digest, "" if unknown. The error is explained.
func (e *endpoint) document(ctx context.Context, path string, want digest.Digest) (fetched, error) {
	tries := e.attempts(documentAttempts)
	for {
		got, err := e.readDocument(withBodyLimit(ctx, maxDocument), path)
		if err == nil && want != "" && digest.FromBytes(got.raw) != want {
			err = fmt.Errorf("%w: what it sent is %s and does not match: the content was changed or damaged", errDigest, digest.FromBytes(got.raw))
		}
		if err == nil {
			return got, nil
		}
		if err := tries.next(ctx, err); err != nil {
			e.giveUp(err)
			return fetched{}, e.explain(ctx, err)
		}
	}
}

func (e *endpoint) readDocument(ctx context.Context, path string) (fetched, error) {
	resp, err := e.get(ctx, path, http.Header{"Accept": {manifestTypes}})
	if err != nil {
		return fetched{}, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fetched{}, err
	}
	return fetched{raw, resp.Header.Get("Content-Type")}, nil
}

// giveUp remembers a failure that concerns the endpoint and not just this request.
func (e *endpoint) giveUp(err error) {
	status := new(transport.Error)
	if !errors.As(err, &status) && !errors.Is(err, errDigest) {
		e.down.Store(true)
	}
}

package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
)

// Head returns the digest that the image's registry, or a mirror in front of it, currently has for
// the reference: the same as Image.Root of Resolve. It takes one HEAD request, plus the requests
// for a token where one is needed. Nothing is read, so nothing is verified: compare the digest with
// the digest of a verified image. warnings are like those of Image.Warnings, and errors like those
// of Resolve.
func Head(ctx context.Context, ref Reference, o Options) (root digest.Digest, warnings []string, err error) {
	if ref.IsEngines() {
		if root, err = ref.engine().id(ctx, ref.Name); err != nil {
			return "", nil, fmt.Errorf("pull %s: %w", ref, err)
		}
		return root, nil, nil
	}
	if ref.IsLocal() {
		return "", nil, fmt.Errorf("pull %s: programming error: only a registry can be asked for a digest", ref)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, resolveTimeout, errSlow)
	defer cancel()
	r, err := openRegistry(ref, o)
	if err != nil {
		return "", nil, fmt.Errorf("pull %s: %w", ref, err)
	}
	defer r.close()
	path := "manifests/" + cmp.Or(ref.Digest.String(), ref.Tag)
	root, err = ask(ctx, r, func(e *endpoint) (digest.Digest, error) { return e.digest(ctx, path, ref.Digest) })
	if err != nil {
		return "", nil, fmt.Errorf("pull %s: %w", ref, err)
	}
	return root, r.warnings(), nil
}

// digest returns the digest of a manifest or an index. If an endpoint does not report it, digest
// requests the document itself, which also gives the reason for a failure: answers to HEAD have no
// text. The error is explained.
func (e *endpoint) digest(ctx context.Context, path string, want digest.Digest) (digest.Digest, error) {
	tries := e.attempts(documentAttempts)
	got, err := e.head(withBodyLimit(ctx, maxDocument), path)
	if err == nil && checkDigest(got) == nil && (want == "" || got == want) {
		return got, nil
	}
	if err != nil && !errors.As(err, new(*transport.Error)) {
		if err := tries.next(ctx, err); err != nil {
			e.giveUp(err)
			return "", e.explain(ctx, err)
		}
	}
	document, err := e.document(ctx, path, want)
	if err == nil {
		err = isDocument(e, document)
	}
	return digest.FromBytes(document.raw), err
}

// head returns the Docker-Content-Digest of the answer to a HEAD request (distribution
// specification, "Pulling manifests"). It may be anything.
func (e *endpoint) head(ctx context.Context, path string) (digest.Digest, error) {
	w := newWatch(ctx, e.stall)
	defer w.stop()
	header := http.Header{"Accept": {manifestTypes}}
	g := &greeting{path: e.repository.RepositoryStr() + "/" + path, header: header}
	client, known, err := e.connect(context.WithValue(w.ctx, greetingKey{}, g))
	if err != nil {
		return "", w.cause(err)
	}
	if found := g.digest.Load(); found != nil {
		return *found, nil
	}
	resp, err := e.request(w.ctx, client, http.MethodHead, path, header)
	if err != nil && known {
		err = lost(err)
	}
	if err != nil {
		return "", w.cause(err)
	}
	return contentDigest(resp), resp.Body.Close()
}

func contentDigest(resp *http.Response) digest.Digest {
	return digest.Digest(resp.Header.Get("Docker-Content-Digest"))
}

// greeting is a HEAD request that replaces the library's greeting, GET /v2/: its answer, too, says
// whether a token is needed, and for what.
type greeting struct {
	path   string // below /v2/
	header http.Header
	digest atomic.Pointer[digest.Digest] // the answer, if no credentials were needed
}

// greetingKey is the context key of a *greeting.
type greetingKey struct{}

// greeter replaces the library's greeting with the one in the context, if any. The greeting carries
// no credentials.
type greeter struct{ next http.RoundTripper }

func (g *greeter) RoundTrip(r *http.Request) (*http.Response, error) {
	instead, ok := r.Context().Value(greetingKey{}).(*greeting)
	if !ok || !isPing(r.URL) || r.Method != http.MethodGet {
		return g.next.RoundTrip(r)
	}
	head := r.Clone(r.Context())
	head.Method = http.MethodHead
	head.URL.Path = strings.TrimSuffix(r.URL.Path, "/") + "/" + instead.path
	for key, values := range instead.header {
		head.Header[key] = values
	}
	resp, err := g.next.RoundTrip(head)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		found := contentDigest(resp)
		instead.digest.Store(&found)
		return resp, nil
	case http.StatusUnauthorized:
		return resp, nil
	}
	// Whatever this answer is, it says nothing about the registry as such.
	_ = resp.Body.Close()
	return g.next.RoundTrip(r)
}

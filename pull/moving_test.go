package pull_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func basic(user, password string) authn.Authenticator {
	return &authn.Basic{Username: user, Password: password}
}

// moving is a registry with a token server whose tokens are good for one request,
// and with a store that has the layer at another place each time and sends 1000
// bytes at most.
type moving struct {
	ref string

	mu             sync.Mutex
	tokens, places int
	requests       []string // of the store
	leaked         []string // authorisation headers that the store got
	layer          []byte
	documents      map[string][]byte
	registry       *httptest.Server
	store          *httptest.Server
}

func serveMoving(t *testing.T, layer []byte) (*moving, *[]string) {
	t.Helper()
	m := &moving{layer: layer}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer), Size: int64(len(layer))}
	config := configOf(t, d.Digest)
	manifest := manifestOf(t, config, []ocispec.Descriptor{d})
	m.documents = map[string][]byte{"1": manifest, digest.FromBytes(config).String(): config}
	m.registry = httptest.NewServer(http.HandlerFunc(m.serveRegistry))
	m.store = httptest.NewServer(http.HandlerFunc(m.serveStore))
	t.Cleanup(m.registry.Close)
	t.Cleanup(m.store.Close)
	m.ref = strings.TrimPrefix(m.registry.URL, "http://") + "/x:1"
	return m, &m.leaked
}

func (m *moving) serveRegistry(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.URL.Path == "/token" {
		m.tokens++
		fmt.Fprintf(w, `{"token":"T%d"}`, m.tokens)
		return
	}
	if r.Header.Get("Authorization") != fmt.Sprintf("Bearer T%d", m.tokens) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s"`, m.registry.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m.tokens++ // the one that was used is no longer good
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if document, ok := m.documents[name]; ok {
		_, _ = w.Write(document)
		return
	}
	m.places++
	http.Redirect(w, r, fmt.Sprintf("%s/store/%d", m.store.URL, m.places), http.StatusTemporaryRedirect)
}

func (m *moving) serveStore(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.requests = append(m.requests, r.URL.Path+" "+r.Header.Get("Range"))
	m.leaked = append(m.leaked, r.Header.Values("Authorization")...)
	m.mu.Unlock()
	http.ServeContent(&cutting{ResponseWriter: w, left: 1000}, r, "", time.Time{}, bytes.NewReader(m.layer))
}

func (m *moving) stored() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

// cutting breaks the connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; err != nil || n < len(p) {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		return n, io.ErrShortWrite
	}
	return n, nil
}

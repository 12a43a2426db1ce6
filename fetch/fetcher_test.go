package fetch_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

// listed is a registry whose requests are noted.
type listed struct {
	*registry.Registry
	host     string // of what notes them
	mu       sync.Mutex
	requests []string // METHOD PATH
}

func startListed(t *testing.T) *listed {
	t.Helper()
	l := &listed{Registry: registry.Start(t, registry.Options{})}
	transport := &http.Transport{}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: l.Host}) },
		Transport: transport,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.requests = append(l.requests, r.Method+" "+r.URL.Path)
		l.mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	l.host = server.Listener.Addr().String()
	return l
}

// taken returns the requests since the last call.
func (l *listed) taken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.requests
	l.requests = nil
	return taken
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func newFetcher(t *testing.T, registries *pull.Registries) *fetch.Fetcher {
	t.Helper()
	store, err := unpack.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fetch.Fetcher{Store: store, Options: pull.Options{Keychain: authn.NewMultiKeychain(), Registries: registries}}
}

// fetchAlways fetches an image as `stepexec pull` does.
func fetchAlways(t *testing.T, f *fetch.Fetcher, ref string) *fetch.Image {
	t.Helper()
	image, err := f.Fetch(t.Context(), ref, container.PullAlways)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestPresentImageCostsOneHeadRequest(t *testing.T) {
	one := randomImage(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: one, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	})
	for name, pushed := range map[string]remote.Taggable{"manifest": one, "index": index} {
		t.Run(name, func(t *testing.T) {
			r := startListed(t)
			r.Push(t, "x:1", pushed)
			f := newFetcher(t, nil)
			f.Platform = "linux/amd64"
			first := fetchAlways(t, f, r.host+"/x:1")
			r.taken()
			second := fetchAlways(t, f, r.host+"/x:1")
			if got := r.taken(); !slices.Equal(got, []string{"HEAD /v2/x/manifests/1"}) {
				t.Errorf("requests %q", got)
			}
			if second.Digest != first.Digest || !slices.Equal(second.Lowerdirs, first.Lowerdirs) || !first.Pulled || second.Pulled {
				t.Errorf("first %+v, then %+v", first, second)
			}
		})
	}
}

func TestMovedTagIsPulled(t *testing.T) {
	r := startListed(t)
	r.Push(t, "x:1", randomImage(t))
	f := newFetcher(t, nil)
	fetchAlways(t, f, r.host+"/x:1")
	moved := randomImage(t)
	r.Push(t, "x:1", moved)
	want, err := moved.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got := fetchAlways(t, f, r.host+"/x:1"); got.Digest.String() != want.String() || !got.Pulled {
		t.Errorf("got %s, pulled %t, want %s", got.Digest, got.Pulled, want)
	}
}

func TestPresentImageNamedByDigestCostsNoRequest(t *testing.T) {
	r := startListed(t)
	image := randomImage(t)
	r.Push(t, "x:1", image)
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	f := newFetcher(t, nil)
	ref := r.host + "/x@" + digest.String()
	fetchAlways(t, f, ref)
	r.taken()
	if got := fetchAlways(t, f, ref); got.Digest.String() != digest.String() || got.Pulled {
		t.Errorf("got %s, pulled %t", got.Digest, got.Pulled)
	}
	if got := r.taken(); len(got) > 0 {
		t.Errorf("requests %q", got)
	}
}

func TestMissingLayerOfAPresentImageIsPulled(t *testing.T) {
	r := startListed(t)
	r.Push(t, "x:1", randomImage(t))
	f := newFetcher(t, nil)
	first := fetchAlways(t, f, r.host+"/x:1")
	removed := newFetcher(t, nil)
	record, err := f.Store.Image(first.Name, fetch.HostPlatform())
	if err != nil {
		t.Fatal(err)
	}
	if err := removed.Store.SaveImage(t.Context(), record); err != nil { // without its layers
		t.Fatal(err)
	}
	if got := fetchAlways(t, removed, r.host+"/x:1"); !got.Pulled || len(got.Lowerdirs) != len(first.Lowerdirs) {
		t.Errorf("got %+v", got)
	}
}

func TestPresentImageOfARegistryThatIsDown(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	ref := r.Push(t, "x:1", randomImage(t))
	f := newFetcher(t, nil)
	fetchAlways(t, f, ref)
	r.Stop()
	if _, err := f.Fetch(t.Context(), ref, container.PullAlways); err == nil || !strings.Contains(err.Error(), "cannot reach "+r.Host) {
		t.Errorf("always: %v", err)
	}
	if _, err := f.Fetch(t.Context(), ref, container.PullMissing); err != nil {
		t.Errorf("missing: %v", err)
	}
}

func TestMirrorThatIsDownIsTold(t *testing.T) {
	r, down := registry.Start(t, registry.Options{}), registry.Start(t, registry.Options{})
	down.Stop()
	ref := r.Push(t, "x:1", randomImage(t))
	f := newFetcher(t, &pull.Registries{Hosts: map[string]pull.Host{r.Host: {Mirrors: []string{down.Host}}}})
	for _, how := range []string{"pulled", "asked only"} {
		if got := fetchAlways(t, f, ref).Warning; strings.Count(got, "mirror "+down.Host+" of "+r.Host+": ") != 1 {
			t.Errorf("%s: warning %q", how, got)
		}
	}
}

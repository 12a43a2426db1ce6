package pull_test

import (
	"errors"
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

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

// counter stands in front of a registry and notes the requests.
type counter struct {
	Host     string
	mu       sync.Mutex
	requests []string // METHOD PATH
}

// count starts a counter. change may be nil; it says whether it has answered itself.
func count(t *testing.T, registry string, change func(w http.ResponseWriter, r *http.Request) bool) *counter {
	t.Helper()
	transport := &http.Transport{}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: registry}) },
		Transport: transport,
	}
	c := &counter{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.requests = append(c.requests, r.Method+" "+r.URL.Path)
		c.mu.Unlock()
		if change == nil || !change(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	c.Host = server.Listener.Addr().String()
	return c
}

// taken returns the requests since the last call.
func (c *counter) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.requests
	c.requests = nil
	return taken
}

// indexImage returns an index with the image in it.
func indexImage(t *testing.T, image v1.Image, platform v1.Platform) v1.ImageIndex {
	t.Helper()
	return mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
}

func TestHead(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 1)
	r.Push(t, "one:1", image)
	r.Push(t, "many:1", indexImage(t, image, v1.Platform{OS: "linux", Architecture: "amd64"}))
	c := count(t, r.Host, nil)
	o := pull.Options{Platform: "linux/amd64", Keychain: anonymous}
	for _, name := range []string{"one", "many"} {
		img := mustResolve(t, c.Host+"/"+name+":1", o)
		if same := img.Root == img.Digest; same != (name == "one") {
			t.Errorf("%s: root %s, manifest %s", name, img.Root, img.Digest)
		}
		for _, ref := range []string{name + ":1", name + "@" + img.Root.String()} {
			c.taken()
			root, warnings, err := pull.Head(t.Context(), parsed(t, c.Host+"/"+ref), o)
			if err != nil || root != img.Root || len(warnings) > 0 {
				t.Errorf("%s: got %s, %q, %v, want %s", ref, root, warnings, err, img.Root)
			}
			if got := c.taken(); len(got) != 1 || !strings.HasPrefix(got[0], "HEAD /v2/"+name+"/manifests/") {
				t.Errorf("%s: requests %q", ref, got)
			}
		}
	}
}

func TestHeadWithCredentials(t *testing.T) {
	r := registry.Start(t, registry.Options{Users: map[string]string{"alice": "secret"}})
	image := platformImage(t, "linux/amd64", 1)
	r.Push(t, "x:1", image)
	c := count(t, r.Host, nil)
	want, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	root, _, err := pull.Head(t.Context(), parsed(t, c.Host+"/x:1"), pull.Options{Keychain: only{&authn.Basic{Username: "alice", Password: "secret"}}})
	if err != nil || root.String() != want.String() {
		t.Errorf("got %s, %v", root, err)
	}
	const head = "HEAD /v2/x/manifests/1"
	if got := c.taken(); !slices.Equal(got, []string{head, head}) {
		t.Errorf("requests %q", got)
	}
	_, _, err = pull.Head(t.Context(), parsed(t, c.Host+"/x:1"), pull.Options{Keychain: anonymous})
	if !errors.Is(err, pull.ErrUnauthorized) {
		t.Errorf("without credentials: %v", err)
	}
}

// TestHeadAtATokenServer wants a token for each request, and another for the next.
func TestHeadAtATokenServer(t *testing.T) {
	asked, leaked := serveMoving(t, []byte("layer"))
	o := pull.Options{Platform: "linux/amd64", Keychain: only{basic("u", "hunter2")}}
	img := mustResolve(t, asked.ref, o)
	asked.mu.Lock()
	tokens := asked.tokens
	asked.mu.Unlock()
	root, _, err := pull.Head(t.Context(), parsed(t, asked.ref), o)
	if err != nil || root != img.Root || len(*leaked) > 0 {
		t.Errorf("got %s, %v, leaked %q", root, err, *leaked)
	}
	if asked.tokens == tokens {
		t.Error("no token was asked for")
	}
}

// TestHeadThatSaysNothing asks registries that do not answer HEAD as they should.
func TestHeadThatSaysNothing(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 1)
	r.Push(t, "x:1", image)
	want, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]func(w http.ResponseWriter){
		"no digest":       func(http.ResponseWriter) {},
		"no real digest":  func(w http.ResponseWriter) { w.Header().Set("Docker-Content-Digest", "sha256:../../etc") },
		"not allowed":     func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"not found":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"forbidden":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"not implemented": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotImplemented) },
		"breaks off":      func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			c := count(t, r.Host, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodHead {
					answer(w)
				}
				return r.Method == http.MethodHead
			})
			root, _, err := pull.Head(t.Context(), parsed(t, c.Host+"/x:1"), impatient)
			if err != nil || root.String() != want.String() {
				t.Errorf("got %s, %v", root, err)
			}
		})
	}
	t.Run("no such tag", func(t *testing.T) {
		_, _, err := pull.Head(t.Context(), parsed(t, r.Host+"/x:2"), impatient)
		wantText(t, err, "pull "+r.Host+"/x:2: no such tag (manifest unknown)")
		if !errors.Is(err, pull.ErrNotFound) {
			t.Error("it does not wrap ErrNotFound")
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		down := registry.Start(t, registry.Options{})
		down.Stop()
		_, _, err := pull.Head(t.Context(), parsed(t, down.Host+"/x:1"), impatient)
		wantText(t, err, "pull "+down.Host+"/x:1: cannot reach "+down.Host)
	})
	t.Run("a folder", func(t *testing.T) {
		_, _, err := pull.Head(t.Context(), parsed(t, "oci:"+t.TempDir()), impatient)
		wantText(t, err, "only a registry")
	})
}

func TestHeadAsksMirrorsFirst(t *testing.T) {
	mirror, origin, down := registry.Start(t, registry.Options{}), registry.Start(t, registry.Options{}), registry.Start(t, registry.Options{})
	down.Stop()
	image := platformImage(t, "linux/amd64", 1)
	ref := origin.Push(t, "x:1", image)
	other := platformImage(t, "linux/amd64", 2)
	mirror.Push(t, "x:1", other)
	for _, c := range []struct {
		mirror string
		want   v1.Image
		warned bool
	}{{mirror.Host, other, false}, {mirror.Host + "/elsewhere", image, false}, {down.Host, image, true}} {
		want, err := c.want.Digest()
		if err != nil {
			t.Fatal(err)
		}
		o := impatient
		o.Registries = mirrored(origin.Host, c.mirror)
		root, warnings, err := pull.Head(t.Context(), parsed(t, ref), o)
		if err != nil || root.String() != want.String() {
			t.Errorf("%s: got %s, %v, want %s", c.mirror, root, err, want)
		}
		if warned := len(warnings) == 1 && strings.HasPrefix(warnings[0], "mirror "+down.Host+" of "+origin.Host+": cannot reach"); warned != c.warned {
			t.Errorf("%s: warnings %q", c.mirror, warnings)
		}
	}
}

func TestMirrorsThatWereLeftOutAreTold(t *testing.T) {
	origin, down := registry.Start(t, registry.Options{}), registry.Start(t, registry.Options{})
	down.Stop()
	image := platformImage(t, "linux/amd64", 2)
	ref := origin.Push(t, "x:1", image)
	o := impatient
	o.Platform, o.Registries = "linux/amd64", mirrored(origin.Host, down.Host)
	img := mustResolve(t, ref, o)
	checkLayers(t, img, image)
	warnings := img.Warnings()
	if len(warnings) != 1 {
		t.Fatalf("warnings %q, want one", warnings)
	}
	wantText(t, errors.New(warnings[0]), "mirror "+down.Host+" of "+origin.Host+": cannot reach ", "connection refused", "; used "+origin.Host)
	if warnings := mustResolve(t, ref, impatient).Warnings(); len(warnings) > 0 {
		t.Errorf("without mirrors: %q", warnings)
	}
}

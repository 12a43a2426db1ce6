package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
)

// asked is a proxy in front of a registry that notes what it is asked for.
type asked struct {
	host string
	mu   sync.Mutex
	all  []string // METHOD /path
}

func askedOf(t *testing.T, r *registry.Registry) *asked {
	t.Helper()
	a := &asked{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Host})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		a.mu.Lock()
		a.all = append(a.all, q.Method+" "+q.URL.Path)
		a.mu.Unlock()
		forward.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	a.host = server.Listener.Addr().String()
	return a
}

// manifests takes out what was asked about manifests, and forgets the rest.
func (a *asked) manifests() (found []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, request := range a.all {
		if strings.Contains(request, "/manifests/") {
			found = append(found, request)
		}
	}
	a.all = nil
	return found
}

// saying is busybox with a file that tells one image from another.
func saying(t *testing.T, text string) fixtures.Image {
	t.Helper()
	image, err := fixtures.BusyboxImage()
	if err != nil {
		t.Fatal(err)
	}
	image.Layers = append(image.Layers, fixtures.Tar(fixtures.File("says", 0o644, text+"\n")))
	return image
}

func push(t *testing.T, r *registry.Registry, tag, text string) {
	t.Helper()
	image := saying(t, text)
	built, err := image.Build()
	if err != nil {
		t.Fatal(err)
	}
	r.Push(t, tag, built)
}

func TestHookPullsForEveryJob(t *testing.T) {
	reg := registry.Start(t, registry.Options{})
	push(t, reg, "moves:1", "old")
	proxy := askedOf(t, reg)
	r := newHookRunner(t, proxy.host)
	r.image = proxy.host + "/moves:1"
	flags := r.flags
	says := func(want string) {
		t.Helper()
		r.prepare(t, nil)
		if got := r.script(t, "cat /says"); got.out != want+"\n" {
			t.Errorf("the job's image says %q; want %q", got.out, want)
		}
	}
	says("old")
	proxy.manifests()
	says("old")
	if got := proxy.manifests(); len(got) != 1 || got[0] != "HEAD /v2/moves/manifests/1" {
		t.Errorf("a tag that has not moved was asked for by %q; want one HEAD", got)
	}
	push(t, reg, "moves:1", "new")
	r.flags = flags + " --pull missing"
	says("old")
	if got := proxy.manifests(); len(got) != 0 {
		t.Errorf("--pull missing asked for %q", got)
	}
	r.flags = flags
	says("new")
	push(t, reg, "moves:1", "newest")
	r.call(t, "cleanup_job", nil)
	r.state = nil
	got := r.call(t, "run_container_step", map[string]any{"image": r.image, "entryPoint": "cat", "entryPointArgs": []string{"/says"}})
	if got.code != 0 || got.out != "newest\n" {
		t.Errorf("a container step: %d, %q", got.code, got.out)
	}
	r.flags = flags + " --pull sometimes"
	if got := r.call(t, "prepare_job", r.example(t, "prepare_job")); got.code != 125 || !strings.Contains(got.out, "--pull sometimes: must be always, missing or never") {
		t.Errorf("--pull sometimes: %d, %s", got.code, got.out)
	}
}

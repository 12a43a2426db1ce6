package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
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

// An image that one job's credentials have pulled is no other job's.
func TestHookKeepsPrivateImagesPrivate(t *testing.T) {
	reg := registry.Start(t, registry.Options{Users: map[string]string{"octocat": "hunter2"}})
	push(t, reg, "private:1", "mine")
	proxy := askedOf(t, reg)
	r := newHookRunner(t, proxy.host)
	r.image = proxy.host + "/private:1"
	flags := r.flags
	prepare := func(pull, password string) hookResult {
		t.Helper()
		r.flags = flags + " --pull " + pull
		args := r.example(t, "prepare_job")
		delete(args, "services")
		container := args["container"].(map[string]any)
		delete(container, "portMappings")
		container["registry"] = nil
		if password != "" {
			container["registry"] = map[string]any{"username": "octocat", "password": password, "serverUrl": proxy.host}
		}
		return r.call(t, "prepare_job", args)
	}
	if got := prepare("always", "hunter2"); got.code != 0 {
		t.Fatalf("its owner: %d, %s", got.code, got.out)
	}
	for _, pull := range []string{"always", "missing", "never"} {
		for _, password := range []string{"", "guessed"} {
			if got := prepare(pull, password); got.code != 125 || !strings.Contains(got.out, "private:1") || strings.Contains(got.out, "guessed") {
				t.Errorf("--pull %s with password %q: %d, %s", pull, password, got.code, got.out)
			}
		}
	}
	proxy.manifests()
	if got := prepare("missing", "hunter2"); got.code != 0 {
		t.Errorf("its owner again: %d, %s", got.code, got.out)
	}
	if got := proxy.manifests(); len(got) != 0 {
		t.Errorf("within the hour the registry was asked again: %q", got)
	}
	if _, err := os.Stat(filepath.Join(r.root, "access")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(r.root, "access")); err != nil { // the hour is over
		t.Fatal(err)
	}
	if got := prepare("missing", "hunter2"); got.code != 0 {
		t.Errorf("its owner after the hour: %d, %s", got.code, got.out)
	}
	if got := proxy.manifests(); len(got) == 0 || got[len(got)-1] != "HEAD /v2/private/manifests/1" {
		t.Errorf("after the hour the registry was asked %q; want HEAD", got)
	}
	shared := filepath.Join(t.TempDir(), "settings.yml")
	if err := os.WriteFile(shared, []byte("pull_credentials: shared\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	flags += " --settings " + shared
	if got := prepare("missing", ""); got.code != 0 {
		t.Errorf("shared by the settings: %d, %s", got.code, got.out)
	}
}

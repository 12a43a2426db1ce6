package pull_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

// mirrored returns settings by which the mirrors stand before the host.
func mirrored(host string, mirrors ...string) *pull.Registries {
	return &pull.Registries{Hosts: map[string]pull.Host{host: {Mirrors: mirrors}}}
}

// recorder notes which hosts requests went to, with their paths, and what
// credentials these got.
type recorder struct {
	http.RoundTripper
	mu       sync.Mutex
	requests []string            // METHOD HOST PATH
	auth     map[string][]string // host: Authorization headers
}

func newRecorder(t *testing.T) *recorder {
	transport := pull.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	return &recorder{RoundTripper: transport, auth: make(map[string][]string)}
}

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.requests = append(r.requests, q.URL.Host+" "+q.URL.Path)
	r.auth[q.URL.Host] = append(r.auth[q.URL.Host], q.Header.Values("Authorization")...)
	r.mu.Unlock()
	return r.RoundTripper.RoundTrip(q)
}

// asked reports whether the host got any request.
func (r *recorder) asked(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.requests, func(s string) bool { return strings.HasPrefix(s, host+" ") })
}

// options returns options to pull linux/amd64 with these settings.
func (r *recorder) options(settings *pull.Registries) pull.Options {
	o := impatient
	o.Platform, o.Transport, o.Registries = "linux/amd64", r, settings
	return o
}

func TestMirrorInFrontOfARegistry(t *testing.T) {
	mirror, origin := registry.Start(t, registry.Options{}), registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 2)
	ref := origin.Push(t, "tools/x:1", image)
	down := registry.Start(t, registry.Options{})
	down.Stop()

	t.Run("without the image", func(t *testing.T) {
		seen := newRecorder(t)
		img := mustResolve(t, ref, seen.options(mirrored(origin.Host, mirror.Host)))
		checkImage(t, img, image)
		if img.Name != ref || !seen.asked(mirror.Host) {
			t.Errorf("name %q, asked %q", img.Name, seen.requests)
		}
	})
	t.Run("down", func(t *testing.T) {
		seen := newRecorder(t)
		checkImage(t, mustResolve(t, ref, seen.options(mirrored(origin.Host, down.Host))), image)
		tried := 0
		for _, request := range seen.requests {
			if strings.HasPrefix(request, down.Host) {
				tried++
			}
		}
		if tried > 2 { // with TLS and without
			t.Errorf("a mirror that is down was tried %d times", tried)
		}
	})
	t.Run("the registry fails too", func(t *testing.T) {
		err := resolveError(t, origin.Host+"/tools/x:2", newRecorder(t).options(mirrored(origin.Host, down.Host, mirror.Host)))
		wantText(t, err, "no such tag (manifest unknown) (mirror "+down.Host+": cannot reach ", "; mirror "+mirror.Host+": no such repository")
	})

	mirror.Push(t, "tools/x:1", image)
	mirror.Push(t, "cache/tools/x:1", image)
	t.Run("with the image", func(t *testing.T) {
		for _, as := range []string{mirror.Host, mirror.Host + "/cache"} {
			seen := newRecorder(t)
			checkImage(t, mustResolve(t, ref, seen.options(mirrored(origin.Host, as))), image)
			if seen.asked(origin.Host) {
				t.Errorf("the registry was asked: %q", seen.requests)
			}
		}
	})
	t.Run("in their order", func(t *testing.T) {
		seen := newRecorder(t)
		checkImage(t, mustResolve(t, ref, seen.options(mirrored(origin.Host, down.Host, mirror.Host))), image)
		if !strings.HasPrefix(seen.requests[0], down.Host) || seen.asked(origin.Host) {
			t.Errorf("asked %q", seen.requests)
		}
	})
	t.Run("of another registry", func(t *testing.T) {
		seen := newRecorder(t)
		checkImage(t, mustResolve(t, ref, seen.options(mirrored("other.example", mirror.Host))), image)
		if seen.asked(mirror.Host) {
			t.Errorf("asked %q", seen.requests)
		}
	})
}

// TestMirrorThatSendsNoManifest is not asked for anything else of the image, whatever it answered.
func TestMirrorThatSendsNoManifest(t *testing.T) {
	origin := registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 2)
	ref := origin.Push(t, "tools/x:1", image)
	for _, status := range []int{200, 204, 301, 401, 403, 404, 418, 503} {
		var later atomic.Int32
		mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case q.URL.Path == "/v2/":
			case strings.Contains(q.URL.Path, "/blobs/"):
				later.Add(1)
				fallthrough
			default:
				w.WriteHeader(status)
			}
		}))
		seen := newRecorder(t)
		checkImage(t, mustResolve(t, ref, seen.options(mirrored(origin.Host, mirror.Listener.Addr().String()))), image)
		if n := later.Load(); n > 0 {
			t.Errorf("status %d: the mirror was asked for %d blobs", status, n)
		}
		mirror.Close()
	}
}

func TestMirrorOfDockerHub(t *testing.T) {
	mirror := registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 1)
	mirror.Push(t, "library/golang:1", image)
	settings, err := (*pull.Registries)(nil).WithMirrors([]string{mirror.Host})
	if err != nil {
		t.Fatal(err)
	}
	img := mustResolve(t, "golang:1", newRecorder(t).options(settings))
	checkImage(t, img, image)
	if img.Name != "docker.io/library/golang:1" {
		t.Errorf("name %q", img.Name)
	}
}

// TestMirrorWithOtherContent: what the mirror says a tag is counts, a digest is the
// same everywhere.
func TestMirrorWithOtherContent(t *testing.T) {
	mirror, origin := registry.Start(t, registry.Options{}), registry.Start(t, registry.Options{})
	old, current := platformImage(t, "linux/amd64", 1), platformImage(t, "linux/amd64", 2)
	mirror.Push(t, "x:1", old)
	ref := origin.Push(t, "x:1", current)
	o := newRecorder(t).options(mirrored(origin.Host, mirror.Host))
	checkImage(t, mustResolve(t, ref, o), old)
	digest, err := current.Digest()
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, mustResolve(t, origin.Host+"/x@"+digest.String(), o), current)
}

func TestMirrorWithDamagedDocuments(t *testing.T) {
	origin := registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 1)
	ref := origin.Push(t, "x:1", image)
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	byDigest := origin.Host + "/x@" + digest.String()
	for _, path := range []string{"/manifests/", "/blobs/"} {
		t.Run(path, func(t *testing.T) {
			damaging := newFaultyProxy(t, origin.Host, func(q *http.Request) fault {
				if strings.Contains(q.URL.Path, path) {
					return fault{corrupt, 20}
				}
				return fault{kind: none}
			})
			settings := mirrored(origin.Host, damaging.Host)
			img := mustResolve(t, byDigest, newRecorder(t).options(settings))
			if img.Digest.String() != digest.String() || damaging.injected[corrupt] != 1 {
				t.Errorf("manifest %s, %v", img.Digest, damaging.injected)
			}
			both := mirrored(damaging.Host, damaging.Host)
			err := resolveError(t, strings.Replace(byDigest, origin.Host, damaging.Host, 1), newRecorder(t).options(both))
			wantText(t, err, "does not match", "(mirror ")
		})
	}
	t.Run("a page instead of the manifest", func(t *testing.T) {
		portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>please log in</html>"))
		}))
		defer portal.Close()
		settings := mirrored(origin.Host, strings.TrimPrefix(portal.URL, "http://"))
		checkImage(t, mustResolve(t, ref, newRecorder(t).options(settings)), image)
	})
}

// TestMirrorThatBreaksInALayer continues the layer at the registry, where it stopped.
func TestMirrorThatBreaksInALayer(t *testing.T) {
	origin := registry.Start(t, registry.Options{})
	image := faultyImage(t, 1)
	ref := origin.Push(t, "x:1", image)
	for _, then := range []faultKind{cut, status503, status403, stall, shorter} {
		t.Run(string(then), func(t *testing.T) {
			mirror := newFaultyProxy(t, origin.Host, inOrder(append([]fault{{cut, 1000}, {status416, 0}}, slices.Repeat([]fault{{then, 0}}, 5)...)...))
			counted := newFaultyProxy(t, origin.Host, func(*http.Request) fault { return fault{kind: none} })
			o := impatient
			o.Registries = mirrored(counted.Host, mirror.Host)
			img := mustResolve(t, strings.Replace(ref, origin.Host, counted.Host, 1), o)
			checkLayers(t, img, image)
			// A machine that is slow stalls by itself; then it goes on where that was, and never back.
			got, at := counted.blobRequests(), 1000
			ok := len(got) > 0 && got[0] == "bytes=1000-"
			for _, asked := range got {
				from := 0
				n, err := fmt.Sscanf(asked, "bytes=%d-", &from)
				ok = ok && n == 1 && err == nil && from >= at
				at = from
			}
			if !ok {
				t.Errorf("the registry was asked for %q", got)
			}
		})
	}
}

// byHost is a keychain with credentials for each host.
type byHost map[string]authn.Authenticator

func (b byHost) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if auth := b[r.RegistryStr()]; auth != nil {
		return auth, nil
	}
	return authn.Anonymous, nil
}

func TestMirrorAndRegistryGetTheirOwnCredentials(t *testing.T) {
	mirror := registry.Start(t, registry.Options{Users: map[string]string{"m": "one"}})
	origin := registry.Start(t, registry.Options{Users: map[string]string{"o": "two"}})
	image := platformImage(t, "linux/amd64", 1)
	ref := origin.Push(t, "x:1", image)
	seen := newRecorder(t)
	o := seen.options(mirrored(origin.Host, mirror.Host))
	o.Keychain = byHost{mirror.Host: basic("m", "one"), origin.Host: basic("o", "two")}
	checkImage(t, mustResolve(t, ref, o), image)
	for host, want := range map[string]string{mirror.Host: "Basic bTpvbmU=", origin.Host: "Basic bzp0d28="} {
		if got := slices.Compact(seen.auth[host]); !slices.Equal(got, []string{want}) {
			t.Errorf("%s got %q, want %q", host, got, want)
		}
	}

	o.Keychain = byHost{origin.Host: basic("o", "two")}
	checkImage(t, mustResolve(t, ref, o), image)
	err := resolveError(t, origin.Host+"/x:2", o)
	wantText(t, err, "no such tag", "mirror "+mirror.Host+": unauthorised at "+mirror.Host)
}

func TestUnusableSettingsAreErrorsNotFallbacks(t *testing.T) {
	origin := registry.Start(t, registry.Options{})
	ref := origin.Push(t, "x:1", platformImage(t, "linux/amd64", 1))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		host pull.Host
		want string
	}{
		{"no such CA", pull.Host{CA: "/nowhere/ca.pem"}, "settings of registry mirror.example: ca: open /nowhere/ca.pem: no such file"},
		{"empty CA", pull.Host{CA: empty}, "has no PEM certificate"},
		{"no such certificate", pull.Host{Cert: "/nowhere/c.pem", Key: "/nowhere/k.pem"}, "cert and key: open /nowhere/c.pem"},
		{"empty certificate", pull.Host{Cert: empty, Key: empty}, "cert and key: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := mirrored(origin.Host, "mirror.example")
			settings.Hosts["mirror.example"] = c.host
			wantText(t, resolveError(t, ref, pull.Options{Keychain: anonymous, Registries: settings}), c.want)
		})
	}
}

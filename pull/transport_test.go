package pull_test

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

func TestTLS(t *testing.T) {
	r := registry.Start(t, registry.Options{TLS: true, Users: map[string]string{"alice": "secret"}})
	image := platformImage(t, "linux/amd64", 1)
	ref := r.Push(t, "x:1", image)
	keychain := only{&authn.Basic{Username: "alice", Password: "secret"}}

	t.Run("known CA", func(t *testing.T) {
		transport := pull.NewTransport()
		transport.TLSClientConfig = r.Transport().TLSClientConfig
		defer transport.CloseIdleConnections()
		img := mustResolve(t, ref, pull.Options{Platform: "linux/amd64", Keychain: keychain, Transport: transport})
		checkImage(t, img, image)
	})
	t.Run("unknown CA", func(t *testing.T) {
		err := resolveError(t, ref, pull.Options{Keychain: keychain})
		wantText(t, err, "TLS with "+r.Host, "unknown authority", "SSL_CERT_FILE")
	})
}

// TestRedirects follows a blob to another host, as registries on object stores do.
func TestRedirects(t *testing.T) {
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`)
	manifest := manifestOf(t, config, nil)
	var leaked []string
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		leaked = append(leaked, q.Header.Values("Authorization")...)
		_, _ = w.Write(config)
	}))
	defer store.Close()
	location := store.URL + "/blob?signature=hunter3"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, password, _ := q.BasicAuth(); password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch {
		case strings.Contains(q.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", ociManifest)
			_, _ = w.Write(manifest)
		case strings.Contains(q.URL.Path, "/blobs/"):
			http.Redirect(w, q, location, http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	o := pull.Options{Platform: "linux/amd64", Keychain: only{&authn.Basic{Username: "alice", Password: "hunter2"}}}
	ref := strings.TrimPrefix(server.URL, "http://") + "/x:1"

	mustResolve(t, ref, o)
	if len(leaked) > 0 {
		t.Errorf("the store got the registry's credentials: %q", leaked)
	}

	for _, c := range []struct{ name, location, want string }{
		{"to plain HTTP elsewhere", "http://registry.invalid/blob?signature=hunter3", "plain HTTP to registry.invalid is refused"},
		{"to the network's metadata service", "https://169.254.169.254/blob?signature=hunter3", "redirect"},
		{"for ever", server.URL + "/v2/x/blobs/again?signature=hunter3", "more than 10 redirects"},
	} {
		t.Run(c.name, func(t *testing.T) {
			location = c.location
			err := resolveError(t, ref, o)
			wantText(t, err, c.want)
			if strings.Contains(err.Error(), "hunter") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestRedirectFromTLSToPlainHTTP(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/v2/" {
			http.Redirect(w, q, plain.URL, http.StatusFound)
		}
	}))
	defer server.Close()
	err := resolveError(t, strings.TrimPrefix(server.URL, "https://")+"/x:1",
		pull.Options{Keychain: anonymous, Transport: server.Client().Transport})
	wantText(t, err, "redirect from "+server.URL+" to plain HTTP is refused")
}

// TestPlainHTTPElsewhere poses as a registry of the local network: all connections
// lead to a server that speaks plain HTTP only.
func TestPlainHTTPElsewhere(t *testing.T) {
	var asked bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	transport := pull.NewTransport()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	for _, host := range []string{"10.1.2.3:5000", "192.168.1.1", "registry.local:5000", "registry.example", "host.localhost:5000"} {
		t.Run(host, func(t *testing.T) {
			err := resolveError(t, host+"/x:1", pull.Options{Keychain: anonymous, Transport: transport})
			wantText(t, err, "plain HTTP to "+host+" is refused")
			if asked {
				t.Error("a plain HTTP request was sent")
			}
		})
	}
}

func TestNotARegistry(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	err := resolveError(t, strings.TrimPrefix(server.URL, "http://")+"/x:1", pull.Options{Keychain: anonymous})
	wantText(t, err, "is no registry", "404")
}

// TestTransientErrors has a registry that is out of order for a number of requests.
func TestTransientErrors(t *testing.T) {
	config := configOf(t)
	manifest := manifestOf(t, config, nil)
	for _, c := range []struct {
		name     string
		failures int64
		want     string
	}{
		{"once", 1, ""},
		{"for ever", math.MaxInt64, "out of order (GET /v2/: HTTP status 503)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case requests.Add(1) <= c.failures:
					w.WriteHeader(http.StatusServiceUnavailable)
				case strings.Contains(r.URL.Path, "/manifests/"):
					w.Header().Set("Content-Type", ociManifest)
					_, _ = w.Write(manifest)
				case strings.Contains(r.URL.Path, "/blobs/"):
					_, _ = w.Write(config)
				}
			}))
			defer server.Close()
			ref := strings.TrimPrefix(server.URL, "http://") + "/x:1"
			o := pull.Options{Platform: "linux/amd64", Keychain: anonymous}
			if c.want == "" {
				mustResolve(t, ref, o)
				return
			}
			wantText(t, resolveError(t, ref, o), c.want)
			if n := requests.Load(); n != 3 {
				t.Errorf("asked %d times, want 3", n)
			}
		})
	}
}

func TestStatusOfAManifest(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   string
		is     error
	}{
		{403, `{"errors":[{"code":"DENIED"}]}`, "unauthorised at HOST, or no such repository (no credentials were sent", pull.ErrUnauthorized},
		{404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, "no such repository (name unknown)", pull.ErrNotFound},
		{404, `<html>nothing here</html>`, "HOST does not have it (HTTP status 404)", pull.ErrNotFound},
		{410, `hunter2`, "HOST answered with HTTP status 410 Gone", nil},
		{400, strings.Repeat("hunter2 ", 1<<20), "HOST answered with HTTP status 400 Bad Request", nil},
	} {
		t.Run(c.body[:min(40, len(c.body))], func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" {
					w.WriteHeader(c.status)
					_, _ = w.Write([]byte(c.body))
				}
			}))
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			err := resolveError(t, host+"/x:1", pull.Options{Keychain: anonymous})
			wantText(t, err, strings.ReplaceAll(c.want, "HOST", host))
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v does not wrap %v", err, c.is)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats the answer: %v", err)
			}
		})
	}
}

package pull_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

// with returns options to pull linux/amd64 with these settings of one host.
func with(host string, settings pull.Host) pull.Options {
	return pull.Options{
		Platform: "linux/amd64", Keychain: anonymous, RetryWait: time.Millisecond,
		Registries: &pull.Registries{Hosts: map[string]pull.Host{host: settings}},
	}
}

func TestTLSSettings(t *testing.T) {
	private := registry.Start(t, registry.Options{TLS: true})
	strict := registry.Start(t, registry.Options{ClientTLS: true})
	image := platformImage(t, "linux/amd64", 1)
	privateRef, strictRef := private.Push(t, "x:1", image), strict.Push(t, "x:1", image)
	client := pull.Host{CA: strict.CAFile, Cert: strict.ClientCert, Key: strict.ClientKey}
	stranger := pull.Host{CA: strict.CAFile, Cert: registry.Start(t, registry.Options{ClientTLS: true}).ClientCert}
	stranger.Key = strings.TrimSuffix(stranger.Cert, "cert.pem") + "key.pem"
	for _, c := range []struct {
		name, ref, host string
		settings        pull.Host
		want            []string // nil: it works
	}{
		{"CA", privateRef, private.Host, pull.Host{CA: private.CAFile}, nil},
		{"skip_verify", privateRef, private.Host, pull.Host{SkipVerify: true}, nil},
		{"client certificate", strictRef, strict.Host, client, nil},
		{"no settings", privateRef, "other.example", pull.Host{}, []string{"TLS with " + private.Host, "unknown authority", "as ca in the registry's settings"}},
		{"CA of another", privateRef, private.Host, pull.Host{CA: strict.CAFile}, []string{"unknown authority"}},
		{"skip_verify of another host", privateRef, strict.Host, pull.Host{SkipVerify: true}, []string{"unknown authority"}},
		{"no client certificate", strictRef, strict.Host, pull.Host{CA: strict.CAFile}, []string{"asked for a client certificate", "as cert and key"}},
		{"client certificate of another CA", strictRef, strict.Host, stranger, []string{strict.Host}}, // an alert or a broken connection
	} {
		t.Run(c.name, func(t *testing.T) {
			o := with(c.host, c.settings)
			if c.want == nil {
				checkImage(t, mustResolve(t, c.ref, o), image)
				return
			}
			wantText(t, resolveError(t, c.ref, o), c.want...)
		})
	}
}

// TestClientCertificateStaysWithItsHost has a registry that wants a client
// certificate redirect to a store that would take one.
func TestClientCertificateStaysWithItsHost(t *testing.T) {
	strict := registry.Start(t, registry.Options{ClientTLS: true})
	config := configOf(t)
	manifest := manifestOf(t, config, nil)
	var mu sync.Mutex
	shown := map[string]int{}
	handler := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		shown[r.Host] += len(r.TLS.PeerCertificates)
		mu.Unlock()
	}
	store := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler(w, r)
		_, _ = w.Write(config)
	}))
	store.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	store.StartTLS()
	defer store.Close()
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler(w, r)
		switch {
		case strings.Contains(r.URL.Path, "/manifests/"):
			_, _ = w.Write(manifest)
		case strings.Contains(r.URL.Path, "/blobs/"):
			http.Redirect(w, r, store.URL, http.StatusTemporaryRedirect)
		}
	}))
	front.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	front.StartTLS()
	defer front.Close()
	ca := writePEM(t, front.Certificate())
	frontHost, storeHost := strings.TrimPrefix(front.URL, "https://"), strings.TrimPrefix(store.URL, "https://")
	o := with(frontHost, pull.Host{CA: ca, Cert: strict.ClientCert, Key: strict.ClientKey})
	wantText(t, resolveError(t, frontHost+"/x:1", o), "TLS with "+storeHost, "unknown authority") // the CA is the front's
	o.Registries.Hosts[storeHost] = pull.Host{CA: ca}
	mustResolve(t, frontHost+"/x:1", o)
	mu.Lock()
	defer mu.Unlock()
	if shown[frontHost] == 0 || shown[storeHost] != 0 {
		t.Errorf("the certificate was shown to %v", shown)
	}
}

func writePEM(t *testing.T, certificate *x509.Certificate) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestPlainHTTPWhereItIsNamed leads all names to one registry without TLS.
func TestPlainHTTPWhereItIsNamed(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 1)
	r.Push(t, "x:1", image)
	transport := pull.NewTransport()
	defer transport.CloseIdleConnections()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, r.Host)
	}
	o := with("plain.example", pull.Host{HTTP: true})
	o.Transport = transport
	checkImage(t, mustResolve(t, "plain.example/x:1", o), image)
	wantText(t, resolveError(t, "other.example/x:1", o), "plain HTTP to other.example is refused", "http: true")

	o = with("docker.io", pull.Host{Mirrors: []string{"plain.example"}})
	o.Transport = transport
	o.Registries.Hosts["plain.example"] = pull.Host{HTTP: true}
	r.Push(t, "library/x:1", image)
	checkImage(t, mustResolve(t, "x:1", o), image)
}

// TestNoPlainHTTPWhereTLSIsSetUp: who names a CA for a registry on this machine wants
// no fallback.
func TestNoPlainHTTPWhereTLSIsSetUp(t *testing.T) {
	tlsRegistry := registry.Start(t, registry.Options{TLS: true})
	plain := registry.Start(t, registry.Options{})
	ref := plain.Push(t, "x:1", platformImage(t, "linux/amd64", 1))
	wantText(t, resolveError(t, ref, with(plain.Host, pull.Host{CA: tlsRegistry.CAFile})), "plain HTTP to "+plain.Host+" is refused")
}

// TestProxyVariables pulls in a process of its own: net/http reads them once.
func TestProxyVariables(t *testing.T) {
	if ref := os.Getenv("STEPEXEC_TEST_PULL"); ref != "" {
		_, err := pull.Resolve(t.Context(), parsed(t, ref), pull.Options{Keychain: anonymous})
		fmt.Println(err)
		return
	}
	var mu sync.Mutex
	var tunnels []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tunnels = append(tunnels, r.Method+" "+r.Host)
		mu.Unlock()
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyVariables$")
	cmd.Env = append(os.Environ(), "STEPEXEC_TEST_PULL=registry.invalid/x:1", "HTTPS_PROXY="+proxy.URL, "NO_PROXY=")
	out, err := cmd.CombinedOutput()
	mu.Lock()
	defer mu.Unlock()
	if want := "CONNECT registry.invalid:443"; err != nil || !slices.Contains(tunnels, want) {
		t.Errorf("%v: the proxy got %q, want %s\n%s", err, tunnels, want, out)
	}
}

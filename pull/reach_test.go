package pull_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/stepexec/stepexec/pull"
)

// TestWhereARegistryMaySendARunner runs in a network namespace of its own, which has public
// and private addresses and a name server.
func TestWhereARegistryMaySendARunner(t *testing.T) {
	if !inNetworkNamespace(t, "203.0.113.7/24", "203.0.113.8/24", "10.0.0.5/24", "10.0.0.6/24", "169.254.169.254/32", "100.100.100.200/32", "fec0::5/128", "64:ff9b:1::a00:6/128") {
		return
	}
	for _, c := range []struct {
		name     string
		registry string // HOST of the reference
		realm    string // HOST:PORT of its token server; "": none
		blobs    string // HOST:PORT, or URL, that blobs are redirected to; "": none
		scheme   string // challenge before the realm; "" means Bearer realm
		allow    pull.Targets
		refused  string // "": the image is taken
	}{
		{name: "private registry, token server at its address, another port", registry: "10.0.0.5", realm: "10.0.0.5:8444"},
		{name: "private registry, token server at another private address", registry: "10.0.0.5", realm: "10.0.0.6:8444"},
		{name: "private registry, parameters of the challenge in capitals", registry: "10.0.0.5", realm: "10.0.0.6:8444", scheme: "Bearer Realm"},
		{name: "private registry, parameters before the realm", registry: "10.0.0.5", realm: "10.0.0.6:8444", scheme: `bearer charset="UTF-8", REALM`},
		{name: "private registry, blobs in a file", registry: "10.0.0.5", blobs: "file:///etc/passwd", refused: `scheme "file" is refused`},
		{name: "private registry, blobs of another protocol", registry: "10.0.0.5", blobs: "gopher://10.0.0.6:8443/blob", refused: `scheme "gopher" is refused`},
		{name: "private registry, blobs at another private address", registry: "10.0.0.5", blobs: "10.0.0.6:8443"},
		{name: "private registry by name, blobs by name", registry: "harbor.test", realm: "auth.harbor.test:8444", blobs: "minio.test:8443"},
		{name: "private registry, blobs at a public address", registry: "10.0.0.5", blobs: "203.0.113.8:8443"},
		{name: "private registry, metadata service", registry: "10.0.0.5", blobs: "169.254.169.254:8443", refused: "10.0.0.5:8443 leads to 169.254.169.254"},
		{name: "private registry, another cloud's metadata service", registry: "10.0.0.5", blobs: "100.100.100.200:8443", refused: "leads to 100.100.100.200"},
		{name: "public registry, blobs at a public address", registry: "203.0.113.7", blobs: "cdn.test:8443"},
		{name: "public registry, blobs at a private address", registry: "203.0.113.7", blobs: "10.0.0.6:8443", refused: "203.0.113.7:8443 leads to 10.0.0.6, which is not a public address"},
		{name: "public registry, blobs at the name of a private address", registry: "registry.test", blobs: "minio.test:8443", refused: "leads to minio.test (10.0.0.6)"},
		{name: "public registry, token server at a private address", registry: "203.0.113.7", realm: "10.0.0.5:8444", refused: "leads to 10.0.0.5"},
		{name: "public registry, token server at the name of one", registry: "203.0.113.7", realm: "auth.harbor.test:8444", refused: "leads to auth.harbor.test (10.0.0.5)"},
		{name: "public registry, this machine", registry: "203.0.113.7", blobs: "127.0.0.1:8443", refused: "leads to 127.0.0.1"},
		{name: "public registry, this machine by name", registry: "203.0.113.7", blobs: "localhost:8443", refused: "leads to localhost ("},
		{name: "public registry, this machine in IPv6", registry: "203.0.113.7", blobs: "[::1]:8443", refused: "leads to ::1"},
		{name: "public registry, a mapped address", registry: "203.0.113.7", blobs: "[::ffff:10.0.0.6]:8443", refused: "leads to "},
		{name: "public registry, an address of site-local IPv6", registry: "203.0.113.7", blobs: "[fec0::5]:8443", refused: "leads to fec0::5"},
		{name: "public registry, a private address behind the site's NAT64", registry: "203.0.113.7", blobs: "[64:ff9b:1::a00:6]:8443", refused: "leads to 64:ff9b:1::a00:6"},
		{name: "public registry, no address", registry: "203.0.113.7", blobs: "0.0.0.0:8443", refused: "leads to 0.0.0.0"},
		{name: "public registry, metadata service", registry: "203.0.113.7", blobs: "169.254.169.254:8443", refused: "leads to 169.254.169.254"},
		{name: "public registry, a target allowed by address", registry: "203.0.113.7", blobs: "10.0.0.6:8443", allow: pull.Targets{Hosts: []string{"10.0.0.6"}}},
		{name: "public registry, targets allowed by network", registry: "203.0.113.7", realm: "10.0.0.5:8444", blobs: "minio.test:8443", allow: pull.Targets{Hosts: []string{"10.0.0.0/24"}}},
		{name: "public registry, a target allowed by name", registry: "203.0.113.7", blobs: "minio.test:8443", allow: pull.Targets{Hosts: []string{"minio.test"}}},
		{name: "public registry, a target allowed by name and port", registry: "203.0.113.7", blobs: "minio.test:8443", allow: pull.Targets{Hosts: []string{"minio.test:8443"}}},
		{name: "public registry, another port is allowed", registry: "203.0.113.7", blobs: "minio.test:8443", allow: pull.Targets{Hosts: []string{"minio.test:9000"}}, refused: "leads to minio.test (10.0.0.6)"},
		{name: "public registry, another target is allowed", registry: "203.0.113.7", blobs: "10.0.0.6:8443", allow: pull.Targets{Hosts: []string{"10.0.0.5", "10.1.0.0/16"}}, refused: "leads to 10.0.0.6"},
		{name: "public registry, all is allowed", registry: "203.0.113.7", blobs: "127.0.0.1:8443", allow: pull.Targets{Any: true}},
		{name: "the registry's name becomes a private address", registry: "rebound.test", refused: "rebound.test:8443 had a public address and now has 10.0.0.6"},
		{name: "the registry's name was a private address at first", registry: "early.test", blobs: "minio.test:8443", refused: "leads to minio.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			serveNames(t)
			server := newHostileRegistry(t, cmp.Or(c.scheme, "Bearer realm"), c.realm, c.blobs)
			host := c.registry + ":8443"
			settings := &pull.Registries{Hosts: map[string]pull.Host{host: {AllowPrivate: c.allow}}}
			o := pull.Options{Platform: "linux/amd64", Keychain: anonymous, Registries: settings, Transport: server.transport, RetryWait: time.Millisecond}
			img, err := pull.Resolve(context.Background(), parsed(t, host+"/x:1"), o)
			if err == nil {
				defer img.Close()
			}
			switch {
			case c.refused == "" && err != nil:
				t.Error(err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("the error is %v, want %q", err, c.refused)
			}
		})
	}
}

// hostileRegistry is a registry, a token server and a store of blobs at every address.
type hostileRegistry struct{ transport *http.Transport }

func newHostileRegistry(t *testing.T, scheme, realm, blobs string) hostileRegistry {
	t.Helper()
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`)
	manifest := manifestOf(t, config, nil)
	handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Connection", "close") // so that each request looks its name up
		switch {
		case q.URL.Path == "/token":
			fmt.Fprint(w, `{"token":"good"}`)
		case q.URL.Path == "/blob":
			_, _ = w.Write(config)
		case realm != "" && q.Header.Get("Authorization") != "Bearer good":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`%s="https://%s/token",service="x"`, scheme, realm))
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(q.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", ociManifest)
			_, _ = w.Write(manifest)
		case strings.Contains(q.URL.Path, "/blobs/") && strings.Contains(blobs, "://"):
			http.Redirect(w, q, blobs, http.StatusTemporaryRedirect)
		case strings.Contains(q.URL.Path, "/blobs/") && blobs != "":
			http.Redirect(w, q, (&url.URL{Scheme: "https", Host: blobs, Path: "/blob"}).String(), http.StatusTemporaryRedirect)
		case strings.Contains(q.URL.Path, "/blobs/"):
			_, _ = w.Write(config)
		}
	})
	certificate, pool := wildCertificate(t)
	for _, port := range []string{"8443", "8444"} {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}}
		server.StartTLS()
		t.Cleanup(server.Close)
	}
	return hostileRegistry{&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// wildCertificate is for all names and addresses of the namespace.
func wildCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"*.test", "auth.harbor.test", "localhost"},
	}
	for _, ip := range []string{"203.0.113.7", "203.0.113.8", "10.0.0.5", "10.0.0.6", "169.254.169.254", "100.100.100.200", "127.0.0.1", "::1", "0.0.0.0"} {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// serveNames resolves names of this process by a name server of its own. Some change.
func serveNames(t *testing.T) {
	t.Helper()
	var rebound, early atomic.Int32
	addresses := map[string]func() [4]byte{
		"registry.test.":    func() [4]byte { return [4]byte{203, 0, 113, 7} },
		"cdn.test.":         func() [4]byte { return [4]byte{203, 0, 113, 8} },
		"harbor.test.":      func() [4]byte { return [4]byte{10, 0, 0, 5} },
		"auth.harbor.test.": func() [4]byte { return [4]byte{10, 0, 0, 5} },
		"minio.test.":       func() [4]byte { return [4]byte{10, 0, 0, 6} },
		"rebound.test.": func() [4]byte {
			if rebound.Add(1) == 1 {
				return [4]byte{203, 0, 113, 7}
			}
			return [4]byte{10, 0, 0, 6}
		},
		"early.test.": func() [4]byte { // private for the first request, then public
			if early.Add(1) == 1 {
				return [4]byte{10, 0, 0, 5}
			}
			return [4]byte{203, 0, 113, 7}
		},
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			name := m.Questions[0].Name.String()
			if address := addresses[name]; address == nil {
				m.RCode = dnsmessage.RCodeNameError
			} else if m.Questions[0].Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: address()},
				}}
			}
			packed, err := m.Pack()
			if err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = before })
}

// inNetworkNamespace reports whether this process is in a network namespace with these
// addresses. Otherwise it has run the test in one, in another process.
func inNetworkNamespace(t *testing.T, addresses ...string) bool {
	t.Helper()
	const inside = "STEPEXEC_TEST_NAMESPACE"
	if os.Getenv(inside) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("makes a network namespace")
	}
	script := "ip link set lo up"
	for _, address := range addresses {
		script += " && ip address add " + address + " dev lo"
	}
	cmd := exec.Command("unshare", "--net", "sh", "-c", script+` && exec "$@"`, "sh", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=yes", "HTTPS_PROXY=", "https_proxy=", "HTTP_PROXY=", "http_proxy=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a network namespace: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()+"/") {
		t.Errorf("no case ran:\n%s", out)
	}
	return false
}

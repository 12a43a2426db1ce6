package pull_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/pull"
)

// freezer passes connections on to a server, and freezes those that there are on
// demand: they stay open, and nothing comes through any more.
type freezer struct {
	net.Listener
	server string
	mu     sync.Mutex
	frozen chan struct{} // of the connections that come from now on
	ended  chan struct{}
	all    sync.WaitGroup
}

func newFreezer(t *testing.T, server string) *freezer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{Listener: listener, server: server, frozen: make(chan struct{}), ended: make(chan struct{})}
	f.all.Go(f.accept)
	t.Cleanup(func() {
		close(f.ended)
		_ = f.Close()
		f.all.Wait()
	})
	return f
}

// freeze freezes the connections that there are.
func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.frozen)
	f.frozen = make(chan struct{})
}

func (f *freezer) accept() {
	for {
		client, err := f.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", f.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		f.mu.Lock()
		frozen := f.frozen
		f.mu.Unlock()
		f.all.Go(func() { f.pass(client, server, frozen) })
		f.all.Go(func() { f.pass(server, client, frozen) })
	}
}

func (f *freezer) pass(from, to net.Conn, frozen chan struct{}) {
	defer from.Close()
	defer to.Close()
	f.all.Go(func() {
		<-f.ended
		_ = from.Close()
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-frozen:
			<-f.ended
			return
		default:
		}
		if n > 0 {
			_, _ = to.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// TestFrozenHTTP2ConnectionIsReplaced: requests share an HTTP/2 connection, so one that
// is dead must not get the next attempt too.
func TestFrozenHTTP2ConnectionIsReplaced(t *testing.T) {
	layer := []byte(strings.Repeat("layer", 10_000))
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer), Size: int64(len(layer))}
	config := configOf(t, d.Digest)
	documents := map[string][]byte{"1": manifestOf(t, config, []ocispec.Descriptor{d}), digest.FromBytes(config).String(): config}
	var (
		mu     sync.Mutex
		ranges []string
	)
	half, resume := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s came by %s", r.URL.Path, r.Proto)
		}
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if document, ok := documents[name]; ok || name == "" {
			_, _ = w.Write(document)
			return
		}
		mu.Lock()
		ranges = append(ranges, r.Header.Get("Range"))
		first := len(ranges) == 1
		mu.Unlock()
		if first {
			_, _ = w.Write(layer[:1000])
			_ = http.NewResponseController(w).Flush()
			close(half)
			<-resume
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(layer)))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	defer close(resume)
	between := newFreezer(t, server.Listener.Addr().String())

	transport := pull.NewTransport()
	if transport.HTTP2.SendPingTimeout <= 0 || transport.HTTP2.PingTimeout <= 0 {
		t.Fatal("no pings are sent")
	}
	transport.HTTP2.SendPingTimeout, transport.HTTP2.PingTimeout = 100*time.Millisecond, 100*time.Millisecond
	transport.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
	defer transport.CloseIdleConnections()
	o := pull.Options{
		Platform: "linux/amd64", Keychain: anonymous, Transport: transport,
		StallTimeout: time.Hour, RetryWait: time.Millisecond, // pings alone can notice
	}
	img := mustResolve(t, between.Addr().String()+"/x:1", o)
	stream, err := img.Layers[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	<-half
	start := make([]byte, 1000)
	if _, err := io.ReadFull(stream, start); err != nil {
		t.Fatal(err)
	}
	between.freeze()
	rest, err := io.ReadAll(stream)
	if err != nil || string(start)+string(rest) != string(layer) {
		t.Errorf("%d bytes, %v", len(start)+len(rest), err)
	}
	if len(ranges) != 2 || ranges[1] != "bytes=1000-" {
		t.Errorf("asked for %q", ranges)
	}
}

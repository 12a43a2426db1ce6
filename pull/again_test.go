package pull_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/pull"
)

// oneLayer serves an image with this layer. blob answers requests for it.
func oneLayer(t *testing.T, layer []byte, blob http.HandlerFunc) (host string) {
	t.Helper()
	config := mustJSON(t, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
	})
	manifest := manifestOf(t, config, []ocispec.Descriptor{descriptor(ocispec.MediaTypeImageLayer, layer)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case strings.Contains(q.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", ociManifest)
			_, _ = w.Write(manifest)
		case strings.HasSuffix(q.URL.Path, digest.FromBytes(config).String()):
			_, _ = w.Write(config)
		case strings.Contains(q.URL.Path, "/blobs/"):
			blob(w, q)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// A registry, or a proxy before it, whose ranges have other bytes than the whole.
func TestWrongBytesInRangesGetOneTryOverASingleConnection(t *testing.T) {
	layer := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var ranges, wholes atomic.Int32
	host := oneLayer(t, layer, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Range") == "" {
			wholes.Add(1)
			w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
			// Slowly where the first parts are begun, so that they are there in time.
			sent := 40 << 10
			_, _ = w.Write(layer[:sent])
			for ranges.Load() < 4 && sent < 72<<10 {
				_, _ = w.Write(layer[sent : sent+1<<9])
				_ = http.NewResponseController(w).Flush()
				sent += 1 << 9
				time.Sleep(5 * time.Millisecond)
			}
			_, _ = w.Write(layer[sent:])
			return
		}
		ranges.Add(1)
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(bytes.ToUpper(layer)))
	})
	img := mustResolve(t, host+"/x:1", pull.Options{
		Platform: "linux/amd64", Keychain: anonymous, Ranges: pull.Ranges{Above: 1 << 10, Part: 1 << 14, Enough: 1 << 40},
	})
	read := func() digest.Digest {
		stream, err := img.Layers[0].Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		content, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		return digest.FromBytes(content)
	}
	if got := read(); got == img.Layers[0].Digest || ranges.Load() == 0 {
		t.Fatalf("no wrong range was taken: %d of them", ranges.Load())
	}
	if !img.Layers[0].Again() {
		t.Fatal("there is no second try")
	}
	before := ranges.Load()
	if got := read(); got != img.Layers[0].Digest || ranges.Load() != before {
		t.Errorf("the second try is %s, with %d ranges", got, ranges.Load()-before)
	}
	if img.Layers[0].Again() {
		t.Error("there is a third try")
	}
}

func TestAMirrorWithoutTheManifestIsNotAskedForBlobs(t *testing.T) {
	layer := []byte("a layer")
	var asked atomic.Int32
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.URL.Path, "/blobs/") {
			asked.Add(1)
		}
		if q.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer mirror.Close()
	host := oneLayer(t, layer, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(layer) })
	img := mustResolve(t, host+"/x:1", pull.Options{
		Platform: "linux/amd64", Keychain: anonymous,
		Registries: &pull.Registries{Hosts: map[string]pull.Host{host: {Mirrors: []string{strings.TrimPrefix(mirror.URL, "http://")}}}},
	})
	stream, err := img.Layers[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if content, err := io.ReadAll(stream); err != nil || !bytes.Equal(content, layer) {
		t.Errorf("%q, %v", content, err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the mirror was asked for %d blobs", n)
	}
	if w := img.Warnings(); len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
}

// A foreign layer is taken from the registry, and never from its urls.
func TestForeignLayers(t *testing.T) {
	layer := []byte("a layer")
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, there := range []bool{true, false} {
		config := mustJSON(t, ocispec.Image{
			Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
			RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
		})
		d := descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar", layer)
		d.URLs = []string{other.URL}
		manifest := manifestOf(t, config, []ocispec.Descriptor{d})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case strings.Contains(q.URL.Path, "/manifests/"):
				w.Header().Set("Content-Type", ociManifest)
				_, _ = w.Write(manifest)
			case strings.HasSuffix(q.URL.Path, digest.FromBytes(config).String()):
				_, _ = w.Write(config)
			case strings.Contains(q.URL.Path, "/blobs/") && there:
				_, _ = w.Write(layer)
			case strings.Contains(q.URL.Path, "/blobs/"):
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		defer server.Close()
		img := mustResolve(t, strings.TrimPrefix(server.URL, "http://")+"/x:1", pull.Options{Platform: "linux/amd64", Keychain: anonymous})
		stream, err := img.Layers[0].Open(t.Context())
		if there != (err == nil) {
			t.Errorf("there is %v, error %v", there, err)
		}
		if err != nil {
			wantText(t, err, "it is foreign, and urls are not used")
			continue
		}
		_ = stream.Close()
	}
	if elsewhere.Load() > 0 {
		t.Error("a url of the manifest was asked")
	}
}

package pull_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

// buggy is a transport that panics when a part of a layer is asked for.
type buggy struct{ http.RoundTripper }

func (b buggy) RoundTrip(r *http.Request) (*http.Response, error) {
	if isPart(r.Header.Get("Range")) {
		panic("a bug")
	}
	return b.RoundTripper.RoundTrip(r)
}

// A part of a layer comes in a goroutine of its own. A bug that it meets there ends the part, and
// not the process: the layer comes over the first connection.
func TestPanicOfAPartEndsThatPart(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	ref := r.Push(t, "x:1", faultyImage(t, 1))
	transport := pull.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	img := mustResolve(t, ref, inParts(pull.Options{Platform: "linux/amd64", Transport: buggy{transport}}))
	stream, err := img.Layers[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := digest.FromReader(stream)
	if err := errors.Join(err, stream.Close()); err != nil || got != img.Layers[0].Digest {
		t.Errorf("got %s: %v", got, err)
	}
}

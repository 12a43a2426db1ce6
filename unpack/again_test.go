package unpack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/stepexec/stepexec/unpack"
)

// damaged returns a layer whose stream has one wrong byte. ready, which may be nil, is
// called with the context of each attempt.
func damaged(t *testing.T, name string, ready func(context.Context)) unpack.Layer {
	t.Helper()
	data := tarOf(t, file(name, "content"))
	l := streamLayer(data, data)
	l.Open = func(ctx context.Context) (io.ReadCloser, error) {
		if ready != nil {
			ready(ctx)
		}
		wrong := bytes.Clone(data)
		wrong[len(wrong)-1] ^= 1
		return io.NopCloser(bytes.NewReader(wrong)), nil
	}
	return l
}

// The error that ends all layers is the DigestError of one. Another damaged layer must not
// take it for its own, or it would begin again for ever.
func TestDamagedLayerDoesNotBeginAgainAfterAnotherHasFailed(t *testing.T) {
	before := runtime.GOMAXPROCS(2) // both layers at once
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	store, _ := openStore(t)
	var unpacking context.Context
	asked, attempts := make(chan struct{}), 0
	retried := damaged(t, "retried", func(ctx context.Context) {
		unpacking = ctx
		attempts++
	})
	retried.Again = func() bool {
		if attempts > 1 || unpacking.Err() != nil {
			t.Errorf("asked for another source after %d attempts (%v)", attempts, unpacking.Err())
			return false
		}
		close(asked)
		<-unpacking.Done()
		return true
	}
	failing := damaged(t, "failing", func(context.Context) { <-asked })
	var wrong *unpack.DigestError
	_, err := store.Unpack(t.Context(), []unpack.Layer{retried, failing}, nil)
	if !errors.As(err, &wrong) || wrong.Want != failing.Digest {
		t.Errorf("got %v, want the digest error of %s", err, failing.Digest)
	}
}

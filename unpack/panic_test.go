package unpack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/unpack"
)

// panicking is a stream that panics at its end.
type panicking struct{ io.Reader }

func (p panicking) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil {
		panic("a bug")
	}
	return n, nil
}

// A bug that a layer meets, in whatever goroutine, ends the unpacking of its image with an error:
// the process has other steps. The layer is unpacked by the next who wants it.
func TestPanicOfALayerIsAnError(t *testing.T) {
	data := tarOf(t, file("a", content(1<<20)), file("b", "1"))
	good := streamLayer(data, zstded(t, data))
	for name, open := range map[string]func() (io.ReadCloser, error){
		"opened": func() (io.ReadCloser, error) { panic("a bug") },
		"read": func() (io.ReadCloser, error) {
			return io.NopCloser(panicking{bytes.NewReader(data[:100_000])}), nil
		},
	} {
		for size, layer := range map[string]unpack.Layer{"small": good, "large": inStages(good)} {
			t.Run(name+", "+size, func(t *testing.T) {
				store, err := unpack.OpenStore(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				bad := layer
				bad.Open = func(context.Context) (io.ReadCloser, error) { return open() }
				_, err = store.Unpack(t.Context(), []unpack.Layer{bad}, nil)
				if panicked := new(crash.Error); !errors.As(err, &panicked) || panicked.Value != "a bug" {
					t.Fatalf("got %v", err)
				}
				if _, err := store.Unpack(t.Context(), []unpack.Layer{good}, nil); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

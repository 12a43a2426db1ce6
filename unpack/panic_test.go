package unpack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
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
				dir := t.TempDir()
				store, err := unpack.OpenStore(dir)
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
				if open := openBelow(t, dir); len(open) > 0 {
					t.Errorf("left behind: open %v", open)
				}
				if _, err := store.Unpack(t.Context(), []unpack.Layer{good}, nil); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

// openBelow lists the regular files of layers below dir that this process holds open.
func openBelow(t *testing.T, dir string) (open []string) {
	t.Helper()
	descriptors, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range descriptors {
		path, err := os.Readlink(descriptor)
		if err == nil && strings.HasPrefix(path, dir+"/") {
			open = append(open, path)
		}
	}
	return open
}

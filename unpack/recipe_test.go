package unpack_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/unpack"
)

func TestTarIsPutTogetherAgain(t *testing.T) {
	rich := tarOf(t,
		dir("d", mode(0o1777)), file("d/small", "x", owner(5, 6), xattr("user.a", "b")), file("empty", ""),
		file("blocks", content(1024)), file("large", content(3<<20)), symlink("s", "large"), link("l", "large"),
		fifo("p"), char("null", 1, 3), whiteout("d/.wh.gone"), whiteout("d/.wh..wh..opq"), link("below", "lower"),
		file(strings.Repeat("long/", 60)+"name", "long", at(time.Unix(-5, 7))), dir("d", mode(0o700)),
		file("odd\n\xff", "odd"),
	)
	for name, data := range map[string][]byte{
		"rich":             rich,
		"padding":          append(bytes.Clone(rich), make([]byte, 10240)...),
		"empty":            tarOf(t),
		"sparse":           sparseTar(t, "s", 1<<20),
		"no end of tar":    bytes.TrimRight(tarOf(t, file("a", "b")), "\x00"),
		"twice, one empty": tarOf(t, file("a", "content"), link("b", "a"), dir("a/..")),
	} {
		t.Run(name, func(t *testing.T) {
			if pad := len(data) % 512; pad != 0 {
				data = append(data, make([]byte, 512-pad)...)
			}
			base := layerOf(t, file("lower", ""))
			for _, l := range []unpack.Layer{streamLayer(data, gzipped(t, data)), inStages(streamLayer(data, data))} {
				s, _ := openStore(t)
				if _, err := s.Unpack(t.Context(), []unpack.Layer{base, l}, nil); err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				if err := s.WriteTar(t.Context(), l.DiffID, &got); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), data) {
					t.Errorf("got %d bytes, want %d, or others", got.Len(), len(data))
				}
			}
		})
	}
}

func TestTarOfReplacedFileIsNotMadeUp(t *testing.T) {
	for name, entries := range map[string][]entry{
		"a file twice":           {file("a", "first"), file("a", "second")},
		"a directory in between": {file("a/b", "first"), file("a", "now a file")},
		"a link in its place":    {file("b", "x"), file("a", "first"), link("a", "b")},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := openStore(t)
			l := layerOf(t, entries...)
			if _, err := s.Unpack(t.Context(), []unpack.Layer{l}, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.WriteTar(t.Context(), l.DiffID, io.Discard); !errors.Is(err, unpack.ErrNoRecipe) {
				t.Errorf("got error %v, want ErrNoRecipe", err)
			}
		})
	}
}

func TestTarOfUnknownLayer(t *testing.T) {
	s, _ := openStore(t)
	if err := s.WriteTar(t.Context(), layerOf(t).DiffID, io.Discard); !errors.Is(err, unpack.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
	if err := s.WriteTar(t.Context(), "sha256:../../etc", io.Discard); err == nil {
		t.Error("a digest that is a path is taken")
	}
}

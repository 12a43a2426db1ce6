package unpack_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/unpack"
)

// Whatever bytes a layer has, nothing outside the store changes, nothing unfinished stays in it, and what was
// unpacked once is unpacked the same way again.
func FuzzUnpackLayer(f *testing.F) {
	needRoot(f)
	for _, seed := range [][]entry{
		{dir("./"), file("a/b", "content", mode(0o4755)), link("c", "a/b"), symlink("d", "/etc"), fifo("e"), char("n", 1, 3)},
		{file("../x", ""), file("/abs", "")},
		{symlink("l", "/tmp"), file("l/x", "x")},
		{whiteout(".wh.a"), whiteout("b/.wh..wh..opq"), file("b/c", "")},
		{file("a", "1"), dir("a"), file("a", "2"), link("a", "a"), link("b", "missing")},
		{file("x", "", xattr("user.k", "v")), globalHeader(map[string]string{"path": "y"})},
	} {
		f.Add(tarOf(f, seed...))
		f.Add(gzipped(f, tarOf(f, seed...)))
	}
	f.Add(sparseTar(f, "s", 1<<30))
	f.Add(zstded(f, tarOf(f, file("z", "z"))))
	base := layerOf(f, dir("a", mode(0o700)), file("missing", "found"))

	f.Fuzz(func(t *testing.T, stream []byte) {
		parent := plainDir(t)
		root := filepath.Join(parent, "inner", "store")
		s, err := unpack.OpenStore(root)
		if err != nil {
			t.Fatal(err)
		}
		s.Limits = unpack.Limits{Bytes: 4 << 20, Entries: 1000}
		layer := unpack.Layer{DiffID: digestOfTar(t, s, stream), Size: -1, Open: opener(stream)}
		dirs, err := s.Unpack(t.Context(), []unpack.Layer{base, layer}, nil)
		if err == nil {
			if again, ok := s.Lowerdirs([]digest.Digest{base.DiffID, layer.DiffID}); !ok || len(again) != len(dirs) {
				t.Errorf("Lowerdirs %q, %v after Unpack %q", again, ok, dirs)
			}
			overlay(t, dirs)
		}
		for _, dir := range []string{parent, filepath.Join(parent, "inner"), filepath.Join(root, "tmp")} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := 1
			if filepath.Base(dir) == "tmp" {
				want = 0
			}
			if len(entries) != want {
				t.Errorf("%s has %v", dir, entries)
			}
		}
	})
}

// digestOfTar lets the store itself tell the diffID: the one it got instead of a wrong one.
func digestOfTar(t *testing.T, s *unpack.Store, stream []byte) digest.Digest {
	t.Helper()
	wrong := digest.FromString("wrong")
	_, err := s.Unpack(t.Context(), []unpack.Layer{{DiffID: wrong, Size: -1, Open: func(context.Context) (io.ReadCloser, error) {
		return opener(stream)(t.Context())
	}}}, nil)
	var e *unpack.DigestError
	if errors.As(err, &e) {
		return e.Got
	}
	return wrong
}

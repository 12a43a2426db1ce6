package unpack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stepexec/stepexec/unpack"
)

// smallFiles is a tar of many files of 4 KiB in directories of 50, like a language's package folder.
func smallFiles(b *testing.B, n int) []byte {
	b.Helper()
	var entries []entry
	body := content(4096)
	for i := range n {
		if i%50 == 0 {
			entries = append(entries, dir(fmt.Sprintf("d%d", i/50)))
		}
		entries = append(entries, file(fmt.Sprintf("d%d/f%d", i/50, i), body))
	}
	return tarOf(b, entries...)
}

func BenchmarkUnpackSmallFiles(b *testing.B) { benchmarkUnpack(b, smallFiles(b, 20000)) }

func BenchmarkUnpackLargeFile(b *testing.B) {
	benchmarkUnpack(b, tarOf(b, file("large", content(64<<20))))
}

// benchmarkUnpack unpacks the tar into fresh stores. They are removed at the very end: on ext4, making files
// soon after removing others is ten times slower and would be all that is measured.
func benchmarkUnpack(b *testing.B, data []byte) {
	needRoot(b)
	for _, c := range []struct {
		name   string
		stream []byte
	}{{"plain", data}, {"gzip", gzipped(b, data)}, {"zstd", zstded(b, data)}} {
		b.Run(c.name, func(b *testing.B) {
			parent := plainDir(b)
			layer := streamLayer(data, c.stream)
			b.SetBytes(int64(len(data)))
			for i := 0; b.Loop(); i++ {
				s, err := unpack.OpenStore(filepath.Join(parent, fmt.Sprint(i)))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Unpack(b.Context(), []unpack.Layer{layer}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLowerdirs is what every step pays for an image that is there.
func BenchmarkLowerdirs(b *testing.B) {
	s, _ := openStore(b)
	var layers []unpack.Layer
	for i := range 10 {
		layers = append(layers, layerOf(b, dir("usr"), dir("usr/lib"), file(fmt.Sprint("usr/lib/f", i), "")))
	}
	if _, err := s.Unpack(b.Context(), layers, nil); err != nil {
		b.Fatal(err)
	}
	ids := diffIDs(layers)
	for b.Loop() {
		if _, ok := s.Lowerdirs(ids); !ok {
			b.Fatal("not there")
		}
	}
}

// BenchmarkUnpackTar measures a real tar: UNPACK_BENCH_TAR=FILE.
func BenchmarkUnpackTar(b *testing.B) {
	path := os.Getenv("UNPACK_BENCH_TAR")
	if path == "" {
		b.Skip("set UNPACK_BENCH_TAR to an uncompressed tar")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkUnpack(b, data)
}

package erofs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// BenchmarkWriter writes an image: the contents of so many files, and their metadata.
func BenchmarkWriter(b *testing.B) {
	for _, set := range []struct{ files, size int }{{20_000, 4 << 10}, {2_000, 100 << 10}, {200_000, 0}} {
		b.Run(fmt.Sprintf("%dx%d", set.files, set.size), func(b *testing.B) {
			content := make([]byte, set.size)
			for i := range content {
				content[i] = byte(i)
			}
			path := filepath.Join(b.TempDir(), "image")
			b.ReportAllocs()
			b.SetBytes(int64(set.files * set.size))
			for b.Loop() {
				writeFiles(b, path, set.files, content)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*set.files), "ns/file")
		})
	}
}

// BenchmarkFloor writes as many bytes by one system call a MiB, and nothing else.
func BenchmarkFloor(b *testing.B) {
	for _, size := range []int{20_000 * 4 << 10, 2_000 * 100 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "file")
			content := make([]byte, 1<<20)
			b.SetBytes(int64(size))
			for b.Loop() {
				f, err := os.Create(path)
				if err != nil {
					b.Fatal(err)
				}
				for written := 0; written < size; written += len(content) {
					if _, err := f.Write(content[:min(len(content), size-written)]); err != nil {
						b.Fatal(err)
					}
				}
				f.Close()
				os.Remove(path)
			}
		})
	}
}

func writeFiles(b *testing.B, path string, files int, content []byte) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(path)
	defer f.Close()
	w := erofs.NewWriter(f)
	root := directory(names{})
	var dir *erofs.Inode
	for i := range files {
		if i%100 == 0 {
			dir = directory(names{})
			root.Entries[fmt.Sprint("directory", i/100)] = dir
		}
		if err := w.Append(content); err != nil {
			b.Fatal(err)
		}
		dir.Entries[fmt.Sprint("file", i)] = &erofs.Inode{Mode: unix.S_IFREG | 0o644, Content: w.EndFile()}
	}
	if err := w.Finish(root); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMount mounts an image and lets it go.
func BenchmarkMount(b *testing.B) {
	needRoot(b)
	m := newImage(b)
	m.finish(directory(names{"file": m.regular("content")}))
	for b.Loop() {
		fd, err := erofs.Mount(m.file.Name())
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
	}
}

func BenchmarkCheck(b *testing.B) {
	m := newImage(b)
	m.finish(directory(names{"file": m.holed(80 << 20)}))
	b.SetBytes(m.Size())
	for b.Loop() {
		if err := erofs.Check(m.file, m.Size(), m.Sum()); err != nil {
			b.Fatal(err)
		}
	}
}

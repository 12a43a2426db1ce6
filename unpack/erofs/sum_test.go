package erofs_test

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// The sum is that of the file, whoever computes it, whatever holes were skipped.
func TestTheSumIsTheCRC32COfTheFile(t *testing.T) {
	for name, fill := range map[string]func(*image) names{
		"empty": func(*image) names { return nil },
		"files": func(m *image) names { return names{"a": m.regular("a"), "b": m.holed(1 << 20)} },
		"holes": func(m *image) names { return names{"a": m.holed(-1<<20, 5000, -12345, 1), "b": m.holed(-4096)} },
	} {
		t.Run(name, func(t *testing.T) {
			m := newImage(t)
			m.finish(directory(fill(m)))
			data, err := os.ReadFile(m.file.Name())
			if err != nil {
				t.Fatal(err)
			}
			if want := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)); m.Sum() != want {
				t.Errorf("sum %08x, want %08x", m.Sum(), want)
			}
			if err := erofs.Check(m.file, m.Size(), m.Sum()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckFindsEveryFlippedBit(t *testing.T) {
	m := newImage(t)
	m.finish(directory(names{"a": m.holed(5000, -9000, 5000)}))
	for offset := int64(0); offset < m.Size(); offset += 61 {
		flip(t, m.file, offset)
		if err := erofs.Check(m.file, m.Size(), m.Sum()); !errors.Is(err, erofs.ErrSum) {
			t.Fatalf("bit flipped at %d: %v", offset, err)
		}
		flip(t, m.file, offset)
	}
	if err := erofs.Check(m.file, m.Size(), m.Sum()); err != nil {
		t.Error(err)
	}
}

func flip(t *testing.T, f *os.File, offset int64) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << (offset % 8)
	if _, err := f.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFindsATruncatedImage(t *testing.T) {
	m := newImage(t)
	m.finish(directory(names{"a": m.regular("a")}))
	if err := m.file.Truncate(m.Size() - 1); err != nil {
		t.Fatal(err)
	}
	if err := erofs.Check(m.file, m.Size(), m.Sum()); !errors.Is(err, erofs.ErrSum) {
		t.Errorf("got %v", err)
	}
}

type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, unix.EIO }

func TestCheckReturnsErrorsOfReading(t *testing.T) {
	var r io.ReaderAt = unreadable{}
	if err := erofs.Check(r, 4096, 0); !errors.Is(err, unix.EIO) || errors.Is(err, erofs.ErrSum) {
		t.Errorf("got %v", err)
	}
}

package erofs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// holed appends to the image what holes and data make; a negative number is a hole of that many bytes.
func (m *image) holed(parts ...int64) *erofs.Inode {
	m.tb.Helper()
	var content bytes.Buffer
	for i, n := range parts {
		var err error
		if n < 0 {
			content.Write(make([]byte, -n))
			err = m.Hole(-n)
		} else {
			p := bytes.Repeat([]byte{byte('a' + i%26)}, int(n))
			content.Write(p)
			err = m.Append(p)
		}
		if err != nil {
			m.tb.Fatal(err)
		}
	}
	n := &erofs.Inode{Mode: unix.S_IFREG, Content: m.EndFile()}
	m.contents[n] = content.String()
	return n
}

func TestHolesReadAsZeros(t *testing.T) {
	m := newImage(t)
	m.compare(directory(names{
		"only":      m.holed(-1),
		"block":     m.holed(-4096),
		"blocks":    m.holed(-4097),
		"before":    m.holed(-5000, 10),
		"after":     m.holed(10, -100_000),
		"between":   m.holed(10, -4086, 10, -4085, 10, -4087, 10),
		"unaligned": m.holed(4095, -1, 1, -4095, 4096, -8192, 1),
		"none":      m.holed(5, 0, 5),
		"large":     m.holed(-3<<20, 700_000, -1<<20),
		"last":      m.holed(1, -1<<20),
	}))
}

func TestHolesAreNotWritten(t *testing.T) {
	m := newImage(t)
	if err := errors.Join(m.Append([]byte{1}), m.Hole(64<<20), m.Append([]byte{1})); err != nil {
		t.Fatal(err)
	}
	m.finish(directory(names{"file": {Mode: unix.S_IFREG, Content: m.EndFile()}}))
	var st unix.Stat_t
	if err := unix.Fstat(int(m.file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if used := st.Blocks * 512; used > 64<<10 {
		t.Errorf("%d bytes on disk", used)
	}
}

func TestAFileBeyond4GiB(t *testing.T) {
	m := newImage(t)
	const middle, size = 5<<30 + 1, 9<<30 + 5
	for _, err := range []error{m.Append([]byte("head")), m.Hole(middle - 4), m.Append([]byte("middle")), m.Hole(size - middle - 6 - 4), m.Append([]byte("tail"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n := &erofs.Inode{Mode: unix.S_IFREG, Content: m.EndFile()}
	after := m.regular("after")
	dir := m.mount(directory(names{"file": n, "after": after}))
	f, err := os.Open(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("size %v, %v", info.Size(), err)
	}
	for offset, want := range map[int64]string{0: "head\x00", middle - 1: "\x00middle\x00", size - 5: "\x00tail"} {
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, offset); err != nil || string(got) != want {
			t.Errorf("at %d: %q, %v", offset, got, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "after")); err != nil || string(got) != "after" {
		t.Errorf("the next file: %q, %v", got, err)
	}
}

func TestANegativeHoleIsAnError(t *testing.T) {
	if err := newImage(t).Hole(-1); err == nil {
		t.Error("no error")
	}
}

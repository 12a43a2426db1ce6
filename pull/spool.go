package pull

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	spoolRatio = 1100     // largest decompressed size per compressed byte of an archive; gzip reaches 1032
	spoolFree  = 64 << 20 // decompressed bytes that any archive may have
)

// Spool makes an archive from a pipe seekable: it copies the archive to an unnamed temporary file.
// file may be "-" for standard input. Open the returned path in its place; for a regular file it is
// file itself. Call release when the archive is no longer used.
func Spool(file string) (path string, release func() error, err error) {
	from := os.Stdin
	if file != "-" && file != "/dev/stdin" {
		if from, err = os.Open(file); err != nil {
			return "", nil, err
		}
		defer from.Close()
	}
	info, err := from.Stat()
	if err != nil {
		return "", nil, err
	}
	if info.Mode().IsRegular() && file != "-" {
		return file, func() error { return nil }, nil
	}
	if info.IsDir() || info.Mode()&os.ModeCharDevice != 0 {
		return "", nil, errors.New("it is not an archive: want a file, a pipe or - for standard input")
	}
	spool, err := nameless()
	if err != nil {
		return "", nil, err
	}
	if _, err := io.Copy(spool, from); err != nil {
		return "", nil, errors.Join(fmt.Errorf("copy it to %s: %w", os.TempDir(), err), spool.Close())
	}
	return fmt.Sprintf("/proc/self/fd/%d", spool.Fd()), spool.Close, nil
}

// nameless returns an unnamed temporary file, which disappears when it is closed, whatever happens.
func nameless() (*os.File, error) {
	file, err := os.CreateTemp("", "stepexec-archive-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// plain returns the file, or its decompressed content in an unnamed temporary file.
func plain(file *os.File, size int64) (*os.File, int64, error) {
	kind, err := compression(file)
	if err != nil || kind == "" {
		return file, size, err
	}
	content, end, err := decompressor(kind, io.NewSectionReader(file, 0, size))
	if err != nil {
		return nil, 0, fmt.Errorf("decompress the archive (%s): %w", kind, err)
	}
	spool, err := nameless()
	if err != nil {
		return nil, 0, errors.Join(err, end())
	}
	limit := spoolFree + spoolRatio*size
	n, err := io.Copy(spool, io.LimitReader(content, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("it grows to more than %d times its size: refused", spoolRatio)
	}
	if err := errors.Join(err, end()); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("decompress the archive (%s): %w", kind, err), spool.Close())
	}
	return spool, n, file.Close()
}

// decompressor returns a reader of the content and a function that ends it.
func decompressor(kind string, from io.Reader) (content io.Reader, end func() error, err error) {
	switch kind {
	case "gzip":
		r, err := gzip.NewReader(from)
		return r, func() error { return nil }, err
	case "zstd":
		r, err := zstd.NewReader(from, zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, err
		}
		return r, func() error { r.Close(); return nil }, nil
	case "xz":
		return program("xz", from)
	}
	return nil, nil, fmt.Errorf("decompress it first (%s -d FILE)", kind)
}

// program decompresses with a program of the machine: few archives use its format, and the
// libraries for it are not as well maintained.
func program(name string, from io.Reader) (content io.Reader, end func() error, err error) {
	cmd := exec.Command(name, "--decompress", "--stdout", "--memlimit-decompress=256MiB")
	cmd.Stdin = from
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil, fmt.Errorf("the program %s is not installed (on Debian: apt-get install xz-utils)", name)
	}
	if err != nil {
		return nil, nil, err
	}
	return out, func() error {
		_ = out.Close() // ends a program whose output is no longer read
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w: %.200q", name, err, said.String())
		}
		return nil
	}, nil
}

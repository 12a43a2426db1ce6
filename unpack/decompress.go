package unpack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/stepexec/stepexec/unpack/gunzip"
)

// maxWindow bounds a zstd decoder's memory. `zstd --ultra -22` needs 128 MiB; RFC 8878 recommends
// that decoders accept at least 8 MiB.
const maxWindow = 128 << 20

// decompress returns the uncompressed stream of r. It detects the format from the first bytes
// rather than the media type: some manifests name the wrong one, and the digest of the result is
// checked anyway. Release it with Close.
func decompress(r *bufio.Reader) (io.ReadCloser, error) {
	magic, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gunzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("gunzip: %w", err)
		}
		return io.NopCloser(z), nil
	case isZstd(magic):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("decompress zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	if format := unsupported(r); format != "" {
		return nil, fmt.Errorf("the layer is compressed with %s, which images do not have (push it again with a current tool, which uses gzip or zstd)", format)
	}
	return io.NopCloser(r), nil
}

// unsupported names the compression that very old tools also used for layers, or "". The marks are
// longer than any prefix that the first file name of a tar has by chance.
func unsupported(r *bufio.Reader) string {
	magic, _ := r.Peek(10) // a shorter stream has none of them
	switch {
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return "xz"
	case bytes.HasPrefix(magic, []byte("BZh")) && bytes.HasSuffix(magic, []byte("1AY&SY")):
		return "bzip2"
	}
	return ""
}

// isZstd recognises frames and skippable frames (RFC 8878 section 3.1).
func isZstd(magic []byte) bool {
	return bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18})
}

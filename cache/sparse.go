package cache

import (
	"bytes"
	"io"
	"os"
)

// hole is how many bytes that are all zero become a hole in a file.
const hole = 64 << 10

// copySparse writes a file of a size, and leaves holes where there are only zeros: a sparse file
// must not take the room that its size claims.
func copySparse(to *os.File, from io.Reader, size int64) error {
	if size < hole {
		_, err := io.Copy(to, from)
		return err
	}
	buffer := make([]byte, hole)
	for at := int64(0); at < size; {
		n, err := io.ReadFull(from, buffer[:min(hole, size-at)])
		if err != nil {
			return err
		}
		if !isZero(buffer[:n]) {
			if _, err := to.WriteAt(buffer[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	return to.Truncate(size)
}

// isZero reports whether all bytes are zero: the first is, and each is the same as the next.
func isZero(p []byte) bool { return p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }

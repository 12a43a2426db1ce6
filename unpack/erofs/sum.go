package erofs

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrSum says that a file is not the image that was written: its storage or somebody has changed it.
var ErrSum = errors.New("image is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // the one that processors have an instruction for

// Check reads the image of size bytes in r and returns an ErrSum if its sum is another than that of Writer.Sum, or an
// error of reading it. It reads holes too, as the zeros that they are. It finds what storage does to an image, not
// what an attacker does, who can choose another image with the same sum.
func Check(r io.ReaderAt, size int64, sum uint32) error {
	hash := crc32.New(castagnoli)
	// Without the conversion to a Reader alone, SectionReader's WriteTo would choose a smaller buffer.
	n, err := io.CopyBuffer(hash, struct{ io.Reader }{io.NewSectionReader(r, 0, size)}, make([]byte, bufferSize))
	switch {
	case err != nil:
		return fmt.Errorf("check image: %w", err)
	case n != size:
		return fmt.Errorf("%w: it has %d of %d bytes", ErrSum, n, size)
	case hash.Sum32() != sum:
		return fmt.Errorf("%w: its crc32c is %08x, not %08x", ErrSum, hash.Sum32(), sum)
	}
	return nil
}

// A CRC is the remainder of a polynomial over GF(2), and n zero bytes behind it multiply that by x^8n. So the sum of
// 8 GiB of zeros takes microseconds, and sums of neighbours make the sum of both.

// sumZeros returns the sum of what has the sum a and n zero bytes behind it.
func sumZeros(a uint32, n int64) uint32 { return ^shift(^a, n) }

// sumConcat returns the sum of what has the sum a and behind it n bytes that have the sum b.
func sumConcat(a, b uint32, n int64) uint32 { return shift(a, n) ^ b }

// Polynomials have the coefficient of x^0 in the highest bit, as in crc32.Castagnoli.
const (
	x0 = 1 << 31
	x8 = 1 << 23
)

// shift returns p·x^8n.
func shift(p uint32, n int64) uint32 {
	for power := uint32(x8); n > 0; n >>= 1 {
		if n&1 != 0 {
			p = multiply(p, power)
		}
		power = multiply(power, power)
	}
	return p
}

// multiply returns the product modulo the polynomial of CRC-32C.
func multiply(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&x0 != 0 {
			product ^= b
		}
		odd := b & 1
		b >>= 1
		if odd != 0 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}

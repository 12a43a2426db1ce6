package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func (d *directories) file(path string, m metadata, content io.Reader, size int64, sparse bool) error {
	mode := m.mode & 0o777 &^ d.umask
	fd, err := d.create(path, mode)
	if err != nil {
		return err
	}
	if sparse || len(m.xattrs) > 0 { // rare, and not for writers, which can neither count holes nor warn
		return d.addHere(fd, path, m, content, size, sparse)
	}
	return d.addLater(d.writers.file(fd, path, m, mode), content, size)
}

// create makes an empty regular file.
func (d *directories) create(path string, mode uint32) (fd int, err error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	parent, base, err := d.parent(path)
	if err != nil {
		return -1, err
	}
	return unix.Openat(parent, base, flags, mode)
}

// addLater reads the content now and leaves writing it to the writers.
func (d *directories) addLater(f *output, content io.Reader, size int64) error {
	whole := false
	defer func() {
		if !whole { // an error, or a panic of the reader: no last part will let go of the file
			d.writers.release(f)
		}
	}()
	for offset := int64(0); ; {
		chunk := d.writers.space(size - offset)
		_, err := io.ReadFull(content, chunk)
		err = failed("read", noEOF(err))
		if err == nil {
			err = d.budget.wrote(len(chunk))
		}
		if err != nil {
			return err
		}
		last := offset+int64(len(chunk)) == size
		d.writers.put(f, chunk, offset, last)
		if last {
			whole = true
			return nil
		}
		offset += int64(len(chunk))
	}
}

// addHere writes the content and the metadata immediately.
func (d *directories) addHere(fd int, path string, m metadata, content io.Reader, size int64, sparse bool) (err error) {
	defer func() { err = errors.Join(err, failed("close", unix.Close(fd))) }()
	if err := d.write(fd, content, size, sparse); err != nil {
		return err
	}
	if err := d.applyFd(fd, path, m); err != nil {
		return err
	}
	return m.setTimesOf(fd)
}

// sparseBlock is the granularity of holes.
const sparseBlock = 4096

func (d *directories) write(fd int, content io.Reader, size int64, sparse bool) error {
	for offset := int64(0); offset < size; {
		if f, ok := content.(*os.File); ok && sparse {
			data, err := nextData(f, offset, size)
			if err != nil {
				return failed("read", err)
			}
			if offset = data; offset == size {
				break
			}
		}
		chunk := d.buffer()
		chunk = chunk[:min(int64(len(chunk)), size-offset)]
		if _, err := io.ReadFull(content, chunk); err != nil {
			return failed("read", noEOF(err))
		}
		if err := d.writeChunk(fd, chunk, offset, sparse); err != nil {
			return err
		}
		offset += int64(len(chunk))
	}
	if sparse {
		return failed("truncate", unix.Ftruncate(fd, size))
	}
	return nil
}

// nextData moves to the first byte at or after offset that is not in a hole of the file, and
// returns its offset. A file of another layer is thereby copied without reading gigabytes of holes.
func nextData(f *os.File, offset, size int64) (int64, error) {
	data, err := f.Seek(offset, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, nil // only a hole remains
	}
	return min(data, size), err
}

// writeChunk writes chunk. Of a sparse file it writes only the blocks that are not zero:
// archive/tar does not say where the holes were, and filling them would let a few bytes of tar fill
// the disk.
func (d *directories) writeChunk(fd int, chunk []byte, offset int64, sparse bool) error {
	for len(chunk) > 0 {
		n := len(chunk)
		if sparse {
			n = min(n, sparseBlock)
		}
		if !sparse || !isZero(chunk[:n]) {
			if err := pwrite(fd, chunk[:n], offset); err != nil {
				return failed("write", err)
			}
			if err := d.budget.wrote(n); err != nil {
				return err
			}
		}
		chunk, offset = chunk[n:], offset+int64(n)
	}
	return nil
}

func pwrite(fd int, p []byte, offset int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, offset)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

// isZero compares p with itself shifted by one byte. That uses vector instructions and saves 2 s
// over a loop for 8 GiB of holes.
func isZero(p []byte) bool {
	return p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// isSparse recognises the GNU formats: the old one by its type, the PAX ones by their keys.
func isSparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// noEOF turns an end of the stream in the middle of a file into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

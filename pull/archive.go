package pull

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/stepexec/stepexec/beneath"
)

const (
	// maxEntries bounds the index of an archive; `docker save` writes a handful of entries per
	// layer.
	maxEntries = 100_000
	// maxLinks bounds a chain of links inside an archive, as the kernel does for paths.
	maxLinks = 40
)

// archive reads the files of a tar directly at their offsets. A compressed tar is first
// decompressed to a temporary file.
type archive struct {
	file    *os.File
	entries map[string]entry
}

// entry is a regular file of an archive, or a link to one.
type entry struct {
	offset, size int64  // of the content, in bytes
	link         string // the name it leads to; "" for a file
}

func openArchive(path beneath.Path) (*archive, error) {
	file, err := path.OpenFile(os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{"no such file", ErrNotFound}
	}
	if err != nil {
		return nil, err
	}
	size, err := regularSize(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	content, size, err := plain(file, size)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	entries, err := indexArchive(content, size)
	if err != nil {
		return nil, errors.Join(err, content.Close())
	}
	return &archive{content, entries}, nil
}

func (a *archive) Close() error { return a.file.Close() }

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	e, err := lookUp(a.entries, name)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(io.NewSectionReader(a.file, e.offset, e.size)), e.size, nil
}

// lookUp follows links from name to a file.
func lookUp(entries map[string]entry, name string) (entry, error) {
	for range maxLinks {
		e, ok := entries[name]
		if !ok {
			return entry{}, fmt.Errorf("%q in the archive: %w", name, fs.ErrNotExist)
		}
		if e.link == "" {
			return e, nil
		}
		name = e.link
	}
	return entry{}, fmt.Errorf("%q in the archive: too many links", name)
}

// indexArchive reads the headers of a tar once. Of several entries with the same name the last one
// counts, as when the archive is extracted.
func indexArchive(r io.ReaderAt, size int64) (map[string]entry, error) {
	section := io.NewSectionReader(r, 0, size)
	entries := make(map[string]entry)
	headers := tar.NewReader(section)
	for range maxEntries {
		header, err := headers.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if errors.Is(err, tar.ErrHeader) {
			return nil, errors.New("it is not a tar archive, or a damaged one")
		}
		if err != nil {
			return nil, fmt.Errorf("it is not a tar archive, or a damaged one: %w", err)
		}
		// The tar reader reads block by block and seeks over contents, so the section is now
		// positioned at the start of the content.
		offset, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if err := addEntry(entries, header, offset, size); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the archive has more than %d entries", maxEntries)
}

func addEntry(entries map[string]entry, header *tar.Header, offset, archiveSize int64) error {
	name := path.Clean(header.Name)
	switch header.Typeflag {
	case tar.TypeReg:
		if isSparse(header) {
			return fmt.Errorf("%q in the archive is a sparse file: write the archive without sparse files", name)
		}
		if header.Size < 0 || header.Size > archiveSize-offset {
			return fmt.Errorf("%q in the archive is cut off: the archive is damaged", name)
		}
		entries[name] = entry{offset: offset, size: header.Size}
	case tar.TypeSymlink:
		// docker before 25 links a layer that two images share: ID/layer.tar to ../OTHER/layer.tar.
		// A name that leads outside is not in the index, and therefore not found.
		entries[name] = entry{link: path.Join(path.Dir(name), header.Linkname)}
	case tar.TypeLink:
		entries[name] = entry{link: path.Clean(header.Linkname)}
	case tar.TypeGNUSparse:
		return fmt.Errorf("%q in the archive is a sparse file: write the archive without sparse files", name)
	}
	return nil
}

// isSparse recognises PAX sparse files, whose content is not contiguous.
func isSparse(header *tar.Header) bool {
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// magic lists the first bytes of compressed files.
var magic = []struct{ name, bytes string }{
	{"gzip", "\x1f\x8b"},
	{"zstd", "\x28\xb5\x2f\xfd"},
	{"xz", "\xfd7zXZ\x00"},
	{"bzip2", "BZh"},
}

// compression names the compression of a tar, "" for none. The tar's own mark (POSIX ustar, at
// offset 257) is checked first: a tar begins with a file name, which may be anything.
func compression(r io.ReaderAt) (string, error) {
	start := make([]byte, 262)
	n, err := r.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if bytes.HasSuffix(start, []byte("ustar")) {
		return "", nil
	}
	for _, m := range magic {
		if bytes.HasPrefix(start[:n], []byte(m.bytes)) {
			return m.name, nil
		}
	}
	return "", nil
}

package unpack

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// A recipe says how to rebuild the tar of a layer, byte for byte, from the layer's files: it has
// the bytes between the contents of files (headers and padding), and names the file whose content
// follows. It makes it possible to verify a layer that is stored as files, and to save an image.
//
// It is a zstd stream of pieces. A piece is a length and that many literal bytes; then the size of
// the content that follows in the tar and, if that is not 0, the length of a path and the path of
// the file with that content. Numbers are uvarints.
const recipeFile = "recipe"

// ErrNoRecipe says that the tar of a layer cannot be rebuilt.
var ErrNoRecipe = errors.New("the layer has a file twice, of which the store keeps the last: its tar cannot be made again")

// A recorder writes the recipe of a tar while the tar is read.
type recorder struct {
	file    *os.File
	zip     *zstd.Encoder
	literal []byte // bytes read and not yet written
	muted   bool   // true while the content of a file is read
	lost    bool   // a content that the recipe needs was replaced
	err     error  // of the first write that failed
}

// newRecorder creates the recipe's file in dir. Release it with close.
func newRecorder(dir string) (*recorder, error) {
	f, err := os.OpenFile(filepath.Join(dir, recipeFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	// Headers are mostly zeros: the fastest level and a window of a few dozen headers shrink them
	// to 3 %.
	zip, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(64<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &recorder{file: f, zip: zip}, nil
}

// tar returns the reader through which the tar must be read.
func (r *recorder) tar(from io.Reader) io.Reader { return recorded{r, from} }

type recorded struct {
	*recorder
	from io.Reader
}

func (r recorded) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if !r.muted {
		r.literal = append(r.literal, p[:n]...)
		if len(r.literal) >= 64<<10 {
			r.piece("", 0)
		}
	}
	return n, err
}

// content notes that the content of the file at path comes next, and returns the reader to read it from.
func (r *recorder) content(path string, size int64, from io.Reader) io.Reader {
	if size == 0 {
		return from
	}
	r.piece(path, size)
	return muted{r, from}
}

type muted struct {
	*recorder
	from io.Reader
}

func (m muted) Read(p []byte) (int, error) {
	m.muted = true
	defer func() { m.muted = false }()
	return m.from.Read(p)
}

// piece writes the bytes read so far.
func (r *recorder) piece(path string, size int64) {
	r.write(binary.AppendUvarint(nil, uint64(len(r.literal))))
	r.write(r.literal)
	r.literal = r.literal[:0]
	r.write(binary.AppendUvarint(nil, uint64(size)))
	if size > 0 {
		r.write(binary.AppendUvarint(nil, uint64(len(path))))
		r.write([]byte(path))
	}
}

func (r *recorder) write(p []byte) {
	if r.err == nil {
		_, r.err = r.zip.Write(p)
	}
}

// finish ends the recipe once the whole tar was read, or removes it when it would be useless.
func (r *recorder) finish() error {
	r.piece("", 0)
	err := errors.Join(r.err, r.zip.Close(), r.file.Close())
	if err != nil {
		return failed("write the layer's recipe", err)
	}
	if r.lost {
		return os.Remove(r.file.Name())
	}
	return nil
}

// close releases the recorder; it may be called before finish.
func (r *recorder) close() {
	_ = r.zip.Close()
	_ = r.file.Close()
}

package unpack

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// A recipe says how the tar of a layer is put together again, byte by byte, from the layer's files: what lies between
// the contents of files, headers and padding, and whose content follows. It makes a layer that is kept as files
// verifiable, and an image that can be saved.
//
// It is a zstd stream of pieces. A piece is a length and so many bytes as they are; then the size of the content that
// follows in the tar, and if that is not 0 the length of a path and the path of the file that has it. Numbers are uvarints.
const recipeFile = "recipe"

// ErrNoRecipe says that the tar of a layer cannot be put together again.
var ErrNoRecipe = errors.New("the layer has a file twice, of which the store keeps the last: its tar cannot be made again")

// A recorder writes the recipe of a tar while that is read.
type recorder struct {
	file    *os.File
	zip     *zstd.Encoder
	literal []byte // what was read and is not written yet
	muted   bool   // while the content of a file is read
	lost    bool   // a content that the recipe needs was replaced
	err     error  // of the first write
}

// newRecorder makes the recipe's file in dir. Release it with close.
func newRecorder(dir string) (*recorder, error) {
	f, err := os.OpenFile(filepath.Join(dir, recipeFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	// Headers are zeros for the most part: the fastest level and a window of a few dozen headers make 3 % of them.
	zip, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(64<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &recorder{file: f, zip: zip}, nil
}

// tar returns the reader that the tar is to be read from.
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

// piece writes what was read up to here.
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

// finish ends the recipe, once all of the tar was read, or removes it when it would be of no use.
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

// close releases the recorder, also before finish.
func (r *recorder) close() {
	_ = r.zip.Close()
	_ = r.file.Close()
}

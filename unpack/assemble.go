package unpack

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// WriteTar writes the uncompressed tar of an unpacked layer and verifies it at the same time. It
// returns an error that is or wraps a *DigestError when files of the layer have changed,
// ErrNotFound for a layer that is not in the store, and ErrNoRecipe for the rare layer whose tar
// cannot be rebuilt.
func (s *Store) WriteTar(ctx context.Context, diffID digest.Digest, w io.Writer) error {
	if err := s.writeTar(ctx, diffID, w); err != nil {
		return fmt.Errorf("put layer %s together: %w", diffID, err)
	}
	return nil
}

func (s *Store) writeTar(ctx context.Context, diffID digest.Digest, w io.Writer) error {
	if err := validate(diffID); err != nil {
		return err
	}
	dir := s.layerDir(diffID)
	held, err := s.hold(dir)
	if err != nil {
		return err
	}
	if !held {
		return ErrNotFound
	}
	root, err := openLower(lowerdir(dir))
	if err != nil {
		return err
	}
	defer unix.Close(root)
	hash := digest.SHA256.Hash()
	if err := assemble(ctx, filepath.Join(dir, recipeFile), root, io.MultiWriter(w, hash)); err != nil {
		return err
	}
	if got := digest.NewDigest(digest.SHA256, hash); got != diffID {
		return &DigestError{What: "diffID", Want: diffID, Got: got}
	}
	return nil
}

// assemble rebuilds the tar from the recipe and the files below root.
func assemble(ctx context.Context, recipe string, root int, w io.Writer) error {
	f, err := os.Open(recipe)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoRecipe
	}
	if err != nil {
		return err
	}
	defer f.Close()
	zip, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return fmt.Errorf("read %s: %w", recipeFile, err)
	}
	defer zip.Close()
	for r := bufio.NewReader(zip); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := r.Peek(1); errors.Is(err, io.EOF) {
			return nil
		}
		path, size, err := copyPiece(w, r)
		if err != nil {
			return fmt.Errorf("read %s: %w", recipeFile, noEOF(err))
		}
		if size > 0 {
			if err := copyContent(w, root, path, size); err != nil {
				return fmt.Errorf("%.300q: %w", path, err)
			}
		}
	}
}

// copyPiece copies the literal bytes of a piece and returns the path and size of the content that
// follows.
func copyPiece(w io.Writer, r *bufio.Reader) (path string, size int64, err error) {
	literal, err := binary.ReadUvarint(r)
	if err == nil {
		_, err = io.CopyN(w, r, int64(literal))
	}
	if err != nil {
		return "", 0, err
	}
	content, err := binary.ReadUvarint(r)
	if err != nil || content == 0 {
		return "", 0, err
	}
	length, err := binary.ReadUvarint(r)
	if err != nil || length >= pathMax {
		return "", 0, errors.Join(err, unix.ENAMETOOLONG)
	}
	name := make([]byte, length)
	_, err = io.ReadFull(r, name)
	return string(name), int64(content), err
}

// copyContent copies a file of the layer, which must have the given size.
func copyContent(w io.Writer, root int, path string, size int64) error {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return failed("open", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return fmt.Errorf("is not the file of %d bytes that it was", size)
	}
	_, err = io.CopyN(w, f, size)
	return err
}

package unpack

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A Layer is one layer of an image and the way to its content.
type Layer struct {
	DiffID digest.Digest // sha256 of the uncompressed tar
	Digest digest.Digest // sha256 of the compressed stream; "" when unknown (docker-archive)
	Size   int64         // of the compressed stream in bytes; -1 when unknown. Another length is a SizeError

	// Open starts the compressed stream: gzip, zstd or plain tar. It is called at most once per Unpack, and
	// not at all for a layer that is there. Unpack closes the stream, also to cancel a read that hangs.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// stream reads the whole layer once: it hashes, decompresses, hashes again and hands every entry to t. It
// returns nil only when size and digests are the announced ones.
func (l Layer) stream(ctx context.Context, t *tree, progress func(bytes int64)) (err error) {
	body, err := l.Open(ctx)
	if err != nil {
		return err
	}
	closeBody := sync.OnceValue(body.Close)
	stop := context.AfterFunc(ctx, func() { _ = closeBody() }) // unblocks Read; its error is ctx's
	defer stop()

	src := &compressed{ctx: ctx, r: body, hash: digest.SHA256.Hash(), want: l.Size, progress: progress}
	err = l.extract(src, t)
	if err != nil {
		err = l.diagnose(src, err)
	}
	closeErr := closeBody()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && closeErr != nil {
		return fmt.Errorf("close stream: %w", closeErr)
	}
	return err
}

// diagnose finds the cause of an error. A corrupt stream shows itself as anything, a broken name or a missing
// directory; so the rest is read to tell whether the stream is the right one.
func (l Layer) diagnose(src *compressed, err error) error {
	ours := errors.Is(err, ErrTooLarge) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
	if src.err == nil && l.Size >= 0 && !ours {
		if _, drainErr := io.Copy(io.Discard, src); drainErr == nil {
			return cmp.Or(l.checkDigest(src), err)
		}
	}
	return cmp.Or(src.err, err)
}

func (l Layer) extract(src *compressed, t *tree) (err error) {
	buffered := bufio.NewReaderSize(src, 256<<10)
	plain, err := decompress(buffered)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	content := &uncompressed{r: plain, hash: digest.SHA256.Hash(), left: t.budget.limits.Bytes}
	if err := t.extract(tar.NewReader(content)); err != nil {
		return err
	}
	// Padding after the tar's end belongs to the diffID, and whatever follows the last compressed byte to the
	// digest.
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, buffered); err != nil {
		return err
	}
	if err := l.checkDigest(src); err != nil {
		return err
	}
	if got := digest.NewDigest(digest.SHA256, content.hash); got != l.DiffID {
		return &DigestError{What: "diffID", Want: l.DiffID, Got: got}
	}
	return nil
}

// checkDigest compares size and digest of a stream that was read to its end.
func (l Layer) checkDigest(src *compressed) error {
	if l.Size >= 0 && src.n != l.Size {
		return &SizeError{Want: l.Size, Got: src.n}
	}
	if got := digest.NewDigest(digest.SHA256, src.hash); l.Digest != "" && got != l.Digest {
		return &DigestError{What: "layer", Want: l.Digest, Got: got}
	}
	return nil
}

// compressed counts and hashes the stream as it arrives.
type compressed struct {
	ctx      context.Context
	r        io.Reader
	hash     hash.Hash
	n        int64
	want     int64 // -1 unknown
	err      error // the source's own, not io.EOF
	progress func(bytes int64)
}

func (c *compressed) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	c.progress(c.n)
	if c.want >= 0 && c.n > c.want {
		err = &SizeError{Want: c.want, Got: c.n}
	} else if errors.Is(err, io.EOF) && c.n < c.want {
		err = &SizeError{Want: c.want, Got: c.n}
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// uncompressed hashes the tar and ends a decompression bomb.
type uncompressed struct {
	r    io.Reader
	hash hash.Hash
	left int64
}

func (u *uncompressed) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.hash.Write(p[:n])
	u.left -= int64(n)
	if u.left < 0 {
		return n, fmt.Errorf("%w: its tar goes beyond the limit", ErrTooLarge)
	}
	return n, err
}

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
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A Layer is one layer of an image and the source of its content.
type Layer struct {
	DiffID digest.Digest // sha256 of the uncompressed tar
	Digest digest.Digest // sha256 of the compressed stream; "" when unknown (docker-archive)
	Size   int64         // bytes of the compressed stream; -1 when unknown. Any other length is a SizeError

	// Open starts the compressed stream: gzip, zstd or plain tar. It is not called for a layer that
	// is already in the store. Unpack closes the stream, also to cancel a read that hangs.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Again reports, after a stream with a wrong digest, whether Open has another source for the
	// layer. Nil means that there is a single source: Open is then called at most once.
	Again func() bool
}

// The memory that a layer needs while it streams, besides its decoder: the two rings and the
// writers' batches. A larger ring gains nothing, and blocks of 1 MiB fall out of the processor's
// cache between two stages.
const (
	smallLayer   = 256 << 10 // compressed bytes up to which goroutines cost more than they gain
	sourceBlocks = 4
	sourceBlock  = 128 << 10
	tarBlocks    = 4
	tarBlock     = 256 << 10
)

// stream reads the whole layer once, in concurrent stages: one hashes the bytes from the source,
// one decompresses them, and the caller's goroutine hashes the tar and hands every entry to t. It
// returns nil only when the size and both digests are the announced ones.
func (l Layer) stream(ctx context.Context, t *tree, progress func(bytes int64)) (err error) {
	body, err := l.Open(ctx)
	if err != nil {
		return err
	}
	closeBody := sync.OnceValue(body.Close)
	stop := context.AfterFunc(ctx, func() { _ = closeBody() }) // unblocks Read, whose error is then ctx's
	defer stop()
	stages := newPipeline(l.small())
	// This is for a panic; the returned error comes from below.
	defer func() { _, _ = closeBody(), stages.stop() }()

	src := &compressed{ctx: ctx, r: body, hash: digest.SHA256.Hash(), want: l.Size, progress: progress}
	err = l.extract(src, t, stages)
	diagnose := err != nil && l.worthReading(err)
	if err != nil && !diagnose {
		_ = closeBody() // a stage may hang in its Read, and there is already an error
	}
	if stopErr := stages.stop(); err == nil {
		err = stopErr
	}
	if diagnose {
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

func (l Layer) small() bool { return l.Size >= 0 && l.Size <= smallLayer }

// worthReading reports whether the rest of the stream can tell more about the error.
func (l Layer) worthReading(err error) bool {
	ours := errors.Is(err, ErrTooLarge) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
	return l.Size >= 0 && !ours
}

// diagnose finds the cause of an error. A corrupt stream can look like anything, such as a broken
// name or a missing directory, so the rest is read to find out whether the stream is the right one.
func (l Layer) diagnose(src *compressed, err error) error {
	if src.err == nil {
		if _, drainErr := io.Copy(io.Discard, src); drainErr == nil {
			return cmp.Or(l.checkDigest(src), err)
		}
	}
	return cmp.Or(src.err, err)
}

func (l Layer) extract(src *compressed, t *tree, stages *pipeline) error {
	buffered := bufio.NewReaderSize(stages.ahead(src, sourceBlocks, sourceBlock), 64<<10)
	plain, err := decompress(buffered)
	if err != nil {
		return err
	}
	stages.decoder = plain
	content := &uncompressed{
		r: stages.ahead(plain, tarBlocks, tarBlock), hash: digest.SHA256.Hash(), limits: t.budget.limits, from: src,
	}
	recorded := t.recipe.tar(content)
	if err := t.extract(tar.NewReader(recorded)); err != nil {
		return err
	}
	// Padding after the tar's end belongs to the diffID, and everything after the last compressed
	// byte belongs to the digest. When content ends, the stage that reads buffered has ended too.
	if _, err := io.Copy(io.Discard, recorded); err != nil {
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

// checkDigest checks the size and digest of a stream that was read to its end.
func (l Layer) checkDigest(src *compressed) error {
	if l.Size >= 0 && src.n.Load() != l.Size {
		return &SizeError{Want: l.Size, Got: src.n.Load()}
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
	n        atomic.Int64 // bytes read so far
	want     int64        // -1 unknown
	err      error        // the source's own error, never io.EOF
	progress func(bytes int64)
}

func (c *compressed) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	read := c.n.Add(int64(n))
	c.progress(read)
	if c.want >= 0 && read > c.want || errors.Is(err, io.EOF) && read < c.want {
		err = &SizeError{Want: c.want, Got: read}
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// uncompressed hashes the tar and stops a decompression bomb.
type uncompressed struct {
	r      io.Reader
	hash   hash.Hash
	n      int64 // bytes read so far
	limits Limits
	from   *compressed
}

// ratioFree is the number of bytes that any layer may have: a small layer of zeros is not a bomb.
const ratioFree = 64 << 20

func (u *uncompressed) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.hash.Write(p[:n])
	u.n += int64(n)
	if u.n > u.limits.Bytes {
		return n, fmt.Errorf("%w: its tar is more than %d bytes", ErrTooLarge, u.limits.Bytes)
	}
	// The source is read ahead of what has been decompressed, so this errs in the layer's favour.
	if (u.n-ratioFree)/u.limits.Ratio > u.from.n.Load() {
		return n, fmt.Errorf("%w: it grows to more than %d times its compressed size", ErrTooLarge, u.limits.Ratio)
	}
	return n, err
}

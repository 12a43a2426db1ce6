package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// download is the stream of one layer, or of a part of it. After an interruption it continues from
// the same offset, if necessary from the next source: the layer's digest names the same bytes
// everywhere. It delivers all bytes or an error, and does not verify them.
type download struct {
	registry *registry
	layer    ocispec.Descriptor
	part     bool // accepts only ranges; any other answer is errRange
	cancel   context.CancelCauseFunc

	mu      sync.Mutex // held by Read; Close takes it after cancel
	ctx     context.Context
	sources []*endpoint // the one in use first
	tries   attempts    // failures in a row of the first source, without a byte in between
	whole   bool        // the first source answered a range request wrongly, so it gets no more of them
	single  bool        // no source is asked for ranges
	ranges  bool        // some of the bytes came in answers to range requests
	body    io.ReadCloser
	offset  int64         // position in the layer of the next byte to deliver
	limit   int64         // end position: the layer's size, or the end of the part
	waited  time.Duration // time spent waiting for bytes of a response
	err     error         // of the last Read
}

var errClosed = errors.New("the layer's stream is closed")

// newDownload returns the layer's stream from offset on. It makes no request yet. It needs at least
// one source.
func newDownload(ctx context.Context, r *registry, layer ocispec.Descriptor, offset int64, sources []*endpoint) *download {
	ctx, cancel := context.WithCancelCause(ctx)
	return &download{
		registry: r, layer: layer, ctx: ctx, cancel: cancel,
		sources: sources, tries: sources[0].attempts(layerAttempts),
		offset: offset, limit: layer.Size,
	}
}

// open makes the first request.
func (d *download) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.request()
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := context.Cause(d.ctx); err != nil {
		return 0, err
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.read(p)
	d.err = err
	return n, err
}

// Close implements io.Closer. A Read or a wait in progress ends with an error.
func (d *download) Close() error {
	d.cancel(errClosed)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drop()
}

func (d *download) read(p []byte) (int, error) {
	if d.offset == d.limit {
		return 0, d.end()
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := d.request(); err != nil {
			return 0, err
		}
		began := time.Now()
		n, err := d.body.Read(p[:min(int64(len(p)), d.limit-d.offset)])
		d.waited += time.Since(began)
		if n > 0 { // the next Read returns the error again
			d.offset += int64(n)
			d.tries.failed = 0
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			if err := d.interrupted(err); err != nil {
				return 0, err
			}
		}
	}
}

// end makes sure that nothing follows the last byte. No other failure matters any more, because all
// bytes have arrived.
func (d *download) end() error {
	if err := d.request(); err != nil {
		return err
	}
	more, _ := d.body.Read(make([]byte, 1))
	switch {
	case more > 0 && d.part:
		return errRange
	case more > 0:
		return fmt.Errorf("%s sends more than the %d bytes that the manifest says", d.sources[0].host(), d.layer.Size)
	case !d.part:
		d.registry.delivered(d.layer.Digest, d.sources[0], d.ranges)
	}
	return io.EOF
}

// request asks for the remaining bytes until a source sends them.
func (d *download) request() error {
	for d.body == nil {
		body, err := d.ask(d.sources[0])
		if err == nil {
			d.body = body
			return nil
		}
		if err := d.interrupted(err); err != nil {
			return err
		}
	}
	return nil
}

// interrupted waits after a failure, or switches to the next source. It returns an explained error
// when no source is left or ctx is done.
func (d *download) interrupted(failure error) error {
	_ = d.drop() // its error would repeat the failure
	if errors.Is(failure, errRange) {
		if d.part {
			return failure
		}
		d.whole = true
	}
	source := d.sources[0]
	err := d.tries.next(d.ctx, failure)
	if err == nil {
		return nil
	}
	if cause := context.Cause(d.ctx); cause != nil {
		return cause
	}
	source.giveUp(err)
	err = source.explain(d.ctx, err)
	if len(d.sources) > 1 {
		d.sources, d.whole = d.sources[1:], false
		d.tries = d.sources[0].attempts(layerAttempts)
		d.registry.leftOut([]failedMirror{{source, err}}, d.sources[0])
		return nil
	}
	if d.offset > 0 {
		return fmt.Errorf("after %d of %d bytes: %w", d.offset, d.layer.Size, err)
	}
	return err
}

func (d *download) drop() error {
	if d.body == nil {
		return nil
	}
	body := d.body
	d.body = nil
	return body.Close()
}

// ask requests the remaining bytes.
func (d *download) ask(e *endpoint) (io.ReadCloser, error) {
	header := http.Header{"Accept-Encoding": {"identity"}}
	switch {
	case d.part:
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", d.offset, d.limit-1))
	case d.offset > 0 && !d.whole && !d.single:
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
	}
	resp, err := e.get(d.ctx, "blobs/"+d.layer.Digest.String(), header)
	if status := new(transport.Error); errors.As(err, &status) && status.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return nil, errRange
	}
	if err != nil {
		return nil, err
	}
	if err := d.position(resp); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	return resp.Body, nil
}

// position checks which part of the layer a response holds, and skips the bytes before offset.
func (d *download) position(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		d.ranges = true
		return checkRange(resp.Header.Get("Content-Range"), d.offset, d.limit, d.layer.Size)
	}
	if d.part {
		return errRange
	}
	if length := resp.ContentLength; length >= 0 && length != d.layer.Size {
		return &sizeError{got: length, want: d.layer.Size}
	}
	_, err := io.CopyN(io.Discard, resp.Body, d.offset)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sizeError says that a source has content of another size under the layer's digest.
type sizeError struct{ got, want int64 }

func (s *sizeError) Error() string {
	return fmt.Sprintf("it has %d bytes, the manifest says %d", s.got, s.want)
}

// errRange is a wrong answer to a range request.
var errRange = errors.New("it answers requests for a range wrong")

// checkRange compares a Content-Range (RFC 9110, 14.4) with the requested range. Fewer bytes than
// requested are allowed; other bytes are not.
func checkRange(header string, offset, limit, size int64) error {
	var first, last int64
	var total string
	if n, err := fmt.Sscanf(header, "bytes %d-%d/%s", &first, &last, &total); n != 3 || err != nil {
		return errRange
	}
	if first != offset || last < first || last >= limit || total != "*" && total != fmt.Sprint(size) {
		return errRange
	}
	return nil
}

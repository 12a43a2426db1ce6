package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// defaultStallTimeout is how long a registry may send nothing.
const defaultStallTimeout = 30 * time.Second

// stalled says that almost nothing arrived for the time limit.
type stalled struct {
	limit time.Duration
	got   int // bytes that did arrive
}

func (s *stalled) Error() string {
	if s.got > 0 {
		return fmt.Sprintf("only %d bytes came for %s", s.got, s.limit)
	}
	return fmt.Sprintf("nothing came for %s", s.limit)
}

// watch ends a request whose registry sends nothing for the time limit.
type watch struct {
	limit  time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func newWatch(ctx context.Context, limit time.Duration) *watch {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(&stalled{limit: limit}) })
	return &watch{limit, ctx, cancel, timer}
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// cause replaces the error with the stall that caused it, if there was one.
func (w *watch) cause(err error) error {
	if stall := new(stalled); errors.As(context.Cause(w.ctx), &stall) {
		return stall
	}
	return err
}

// minProgress is the number of bytes that must arrive within the time limit: otherwise a registry
// that sends a byte every few seconds could hold up a build for years.
const minProgress = 4 << 10

// watchedBody is the body of a watched response. The time that its reader spends between two reads
// does not count.
type watchedBody struct {
	io.ReadCloser
	watch  *watch
	err    error
	got    int           // bytes since the last progress
	waited time.Duration // time spent waiting for them
}

// watched hands over a response whose body watch guards.
func watched(resp *http.Response, w *watch) *http.Response {
	w.timer.Stop()
	resp.Body = &watchedBody{ReadCloser: resp.Body, watch: w}
	return resp
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.watch.timer.Reset(b.watch.limit - b.waited)
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.watch.timer.Stop()
	b.waited += time.Since(began)
	if b.got += n; b.got >= minProgress {
		b.got, b.waited = 0, 0
	}
	if err != nil && err != io.EOF {
		err = b.watch.cause(err)
		if stall := new(stalled); errors.As(err, &stall) {
			err = &stalled{stall.limit, b.got}
		}
	}
	b.err = err
	return n, err
}

func (b *watchedBody) Close() error {
	b.watch.stop()
	return b.ReadCloser.Close()
}

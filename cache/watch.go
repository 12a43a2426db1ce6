package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// minProgress is how much of a transfer must be read within the time that it may stall: otherwise a
// server that sends a byte now and then would hold up a run for as long as a transfer may take.
const minProgress = 1 << 20

// errSlow is the cause of a transfer's end when it is too slow.
var errSlow = errors.New("too slow")

// watch ends a transfer that stalls or takes too long.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  *time.Timer
	whole  *time.Timer
	limit  time.Duration
	read   atomic.Int64 // bytes since the last progress
}

// newWatch returns a context that ends when a transfer is too slow. The caller must stop the watch.
func newWatch(ctx context.Context, p Patience) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	tooLong := func(format string, limit time.Duration) *time.Timer {
		return time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w: "+format, errSlow, limit)) })
	}
	return ctx, &watch{ctx: ctx, cancel: cancel, limit: p.Stall, stall: tooLong("less than 1 MiB in %v", p.Stall), whole: tooLong("it took longer than %v", p.Transfer)}
}

// watched returns a reader whose progress keeps the transfer going.
func (w *watch) watched(r io.Reader) io.Reader { return &watchedReader{r, w} }

// sent ends the limit on a transfer without progress: the server has everything, and works on it.
func (w *watch) sent() { w.stall.Stop() }

// why replaces an error with what ended the transfer, if that was the watch.
func (w *watch) why(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errSlow) {
		return cause
	}
	return err
}

func (w *watch) stop() {
	w.stall.Stop()
	w.whole.Stop()
	w.cancel(context.Canceled)
}

type watchedReader struct {
	io.Reader
	watch *watch
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.watch.read.Add(int64(n)) >= minProgress || err != nil {
		r.watch.read.Store(0)
		r.watch.stall.Reset(r.watch.limit)
	}
	if err == nil && r.watch.ctx.Err() != nil {
		err = context.Cause(r.watch.ctx)
	}
	return n, err
}

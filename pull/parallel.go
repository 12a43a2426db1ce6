package pull

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parallel is the stream of a large layer. It begins with one connection. When the reader has to
// wait for that one, the bytes ahead are fetched in parts over other connections, which take over
// if the source supports ranges. Each part is a download, with all of its guarantees. If the parts
// fail, one connection continues.
type parallel struct {
	registry *registry
	layer    ocispec.Descriptor
	cancel   context.CancelCauseFunc

	mu      sync.Mutex // held by Read; Close takes it after cancel
	ctx     context.Context
	sources []*endpoint // the one in use first
	one     *download   // the single connection; nil once parts have taken over
	offset  int64       // bytes delivered
	err     error       // of the last Read

	judgedAt     int64         // offset at which the speed of one was last judged
	judgedWaited time.Duration // one.waited at that time

	alone bool   // no more parts may be begun
	ahead *parts // nil if there are none
}

func newParallel(ctx context.Context, r *registry, layer ocispec.Descriptor, sources []*endpoint) *parallel {
	ctx, cancel := context.WithCancelCause(ctx)
	return &parallel{
		registry: r, layer: layer, ctx: ctx, cancel: cancel,
		sources: sources, one: newDownload(ctx, r, layer, 0, sources),
	}
}

func (p *parallel) open() error { return p.one.open() }

// Read implements io.Reader.
func (p *parallel) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := context.Cause(p.ctx); err != nil {
		return 0, err
	}
	if p.err != nil || len(b) == 0 {
		return 0, p.err
	}
	n, err := p.read(b)
	p.offset += int64(n)
	p.err = err
	return n, err
}

// Close implements io.Closer. A Read in progress, and the fetching ahead, end with an error.
func (p *parallel) Close() error {
	p.cancel(errClosed)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropParts()
	return p.dropOne()
}

func (p *parallel) read(b []byte) (int, error) {
	for p.ahead != nil && p.ahead.ready(p.offset) {
		n, err := p.readPart(b)
		if err == nil || !p.goesOnAlone(err) {
			return n, err
		}
		p.giveUpParts()
	}
	if p.one == nil && p.offset == p.layer.Size {
		p.registry.delivered(p.layer.Digest, p.sources[0], true)
		return 0, io.EOF
	}
	return p.readOne(b)
}

// goesOnAlone reports whether a single connection may succeed where the part failed. If that
// connection is still open, nothing is lost. Otherwise the part has exhausted its attempts, and
// only the ranges themselves may be the cause.
func (p *parallel) goesOnAlone(err error) bool {
	return context.Cause(p.ctx) == nil && (p.one != nil || errors.Is(err, errRange))
}

func (p *parallel) readOne(b []byte) (int, error) {
	if p.one == nil {
		p.one = newDownload(p.ctx, p.registry, p.layer, p.offset, p.sources)
		p.one.ranges = p.offset > 0 // everything before it came in parts
	}
	if p.ahead != nil {
		b = b[:min(int64(len(b)), p.ahead.room(p.offset))]
	}
	n, err := p.one.Read(b)
	p.sources = p.one.sources
	if err == nil {
		p.judge(p.offset + int64(n))
	}
	return n, err
}

// judge measures the speed of the single connection, which is now at offset, and begins parts when
// it is slow. Time that the reader spends elsewhere does not count.
func (p *parallel) judge(offset int64) {
	ranges := p.registry.ranges
	if p.ahead != nil && p.ahead.tooLate(offset) {
		// A range takes longer to arrive than the connection takes for the same bytes: no gain.
		p.giveUpParts()
	}
	bytes, waited := offset-p.judgedAt, p.one.waited-p.judgedWaited
	if p.alone || p.ahead != nil || bytes < windowParts*ranges.Part {
		return
	}
	p.judgedAt, p.judgedWaited = offset, p.one.waited
	from := offset + windowParts*ranges.Part
	if ranges.slow(bytes, waited) && from < p.layer.Size && p.registry.parallel.TryAcquire(1) {
		p.ahead = beginParts(p.ctx, p.registry, p.layer, from, p.sources)
	}
}

// readPart waits for the part at offset and reads from it.
func (p *parallel) readPart(b []byte) (int, error) {
	first := p.ahead.all[0]
	select {
	case <-first.done:
	case <-p.ctx.Done():
		return 0, context.Cause(p.ctx)
	}
	if first.err != nil {
		return 0, first.err
	}
	_ = p.dropOne() // kept until now in case no part came
	if len(first.sources) < len(p.sources) {
		p.sources = first.sources
	}
	n := copy(b, first.content[p.offset-first.from:])
	if p.offset+int64(n) == first.end() {
		p.ahead.shift(p.sources)
	}
	return n, nil
}

func (p *parallel) giveUpParts() {
	p.dropParts()
	p.alone = true
}

func (p *parallel) dropParts() {
	if p.ahead == nil {
		return
	}
	p.ahead.stop()
	p.ahead = nil
	p.registry.parallel.Release(1)
}

func (p *parallel) dropOne() error {
	if p.one == nil {
		return nil
	}
	one := p.one
	p.one = nil
	return one.Close()
}

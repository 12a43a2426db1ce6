package pull

import (
	"context"
	"errors"
	"io"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/crash"
)

// parts are pieces of a layer that are fetched concurrently and delivered in order.
type parts struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	registry *registry
	layer    ocispec.Descriptor
	sources  []*endpoint // sources for the first part
	all      []*part     // in order; all[0] is read next
	next     int64       // start offset of the next part to begin
	accepted bool        // the first range has arrived, and others were begun
	running  sync.WaitGroup
}

// part is one piece, held in memory.
type part struct {
	from     int64
	content  []byte
	answered chan struct{} // closed when the range begins to arrive
	done     chan struct{} // closed after answered, when the following fields are set
	sources  []*endpoint   // remaining sources, the one that sent the part first
	err      error         // nil: content is complete
}

func (p *part) end() int64 { return p.from + int64(len(p.content)) }

var errStopped = errors.New("the parts of the layer are not needed any more")

// beginParts requests the first part. The others begin when its answer comes, so that a source
// without ranges gets just one such request.
func beginParts(ctx context.Context, r *registry, layer ocispec.Descriptor, from int64, sources []*endpoint) *parts {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &parts{ctx: ctx, cancel: cancel, registry: r, layer: layer, sources: sources, next: from}
	p.begin(sources, nil)
	return p
}

// stop ends all parts and waits for them.
func (p *parts) stop() {
	p.cancel(errStopped)
	p.running.Wait()
}

// begin requests the next part, if there is one. memory is the buffer of a part that is no longer
// needed, or nil.
func (p *parts) begin(sources []*endpoint, memory []byte) {
	size := min(p.registry.ranges.Part, p.layer.Size-p.next)
	if size <= 0 {
		return
	}
	if memory == nil {
		memory = make([]byte, size)
	}
	one := &part{
		from: p.next, content: memory[:size], answered: make(chan struct{}), done: make(chan struct{}),
	}
	p.next = one.end()
	p.all = append(p.all, one)
	d := newDownload(p.ctx, p.registry, p.layer, one.from, sources)
	d.part, d.limit = true, one.end()
	p.running.Go(func() {
		defer close(one.done)
		defer crash.Recover(&one.err)
		one.err = one.fetch(d)
		one.sources = d.sources
	})
}

func (p *part) fetch(d *download) error {
	defer d.Close() // its error would repeat that of Read
	if err := d.open(); err != nil {
		return err
	}
	close(p.answered)
	if _, err := io.ReadFull(d, p.content); err != nil {
		return err
	}
	// Read to the end of the answer, so that the connection can be used again.
	if _, err := d.Read(make([]byte, 1)); err != io.EOF {
		return err
	}
	return nil
}

// ready reports whether the byte at offset should come from the first part, or whether that part
// has failed before others were begun.
func (p *parts) ready(offset int64) bool {
	if len(p.all) == 0 {
		return false
	}
	first := p.all[0]
	if !p.accepted {
		failed := closed(first.done)
		if !closed(first.answered) {
			return failed
		}
		p.accepted = true
		for range parallelParts - 1 {
			p.begin(p.sources, nil)
		}
	}
	return offset >= first.from
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// tooLate reports whether offset was reached before the first part began to arrive.
func (p *parts) tooLate(offset int64) bool { return !p.accepted && offset >= p.all[0].end() }

// room returns the number of bytes from offset on that do not come from parts.
func (p *parts) room(offset int64) int64 {
	if !p.accepted {
		return p.layer.Size
	}
	return p.all[0].from - offset
}

// shift begins another part in place of the first, which has been read.
func (p *parts) shift(sources []*endpoint) {
	read := p.all[0]
	p.all = p.all[1:]
	p.begin(sources, read.content[:cap(read.content)])
}

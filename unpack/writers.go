package unpack

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

const (
	batches    = 4         // number per layer, including empty ones
	batchBytes = 256 << 10 // bytes of content in a batch
	batchParts = 32        // parts in a batch; each may keep a file open
	maxWriters = 4         // goroutines per layer; more would wait for each other in the file system
)

// writers write the content of files that already exist, so that reading the tar can go on.
// Everything that concerns names happens in the tar's order, in the caller's goroutine; a writer
// has only the descriptor. So a name that comes twice, is linked to or is removed need not wait:
// the content goes to the inode.
type writers struct {
	layer  digest.Digest       // for errors
	apply  func(*output) error // gives a file whose content is written its metadata
	inline bool                // for a small layer: no goroutines
	queue  chan *batch         // nil until the first file
	free   chan *batch
	batch  *batch // being filled; may be nil
	ended  sync.WaitGroup

	mu     sync.Mutex
	err    error // error of the first file, in the tar's order, that failed
	at     int   // number of that file
	failed atomic.Bool
	files  int // number of files opened so far
}

// A batch is a set of parts for a writer.
type batch struct {
	buf   []byte
	used  int
	parts []part
}

// A part is a piece of a file.
type part struct {
	file   *output
	data   []byte
	offset int64
}

// An output is a file that is being written. Whoever writes its last part also applies its
// metadata.
type output struct {
	fd     int
	number int
	name   string // path, for errors
	meta   metadata
	mode   uint32       // current mode
	left   atomic.Int32 // parts not yet written, plus one until all are known
}

// file takes ownership of the descriptor of a file that was made with the given mode.
func (w *writers) file(fd int, name string, m metadata, mode uint32) *output {
	w.files++
	f := &output{fd: fd, number: w.files, name: name, meta: m, mode: mode}
	f.left.Store(1)
	return f
}

// space returns a buffer of at most n bytes for the next part. It waits for a writer when there is
// none.
func (w *writers) space(n int64) []byte {
	if w.batch != nil && (len(w.batch.parts) == batchParts || w.batch.used == batchBytes) {
		w.flush()
	}
	if w.batch == nil {
		w.batch = w.next()
	}
	free := w.batch.buf[w.batch.used:]
	return free[:min(int64(len(free)), n)]
}

// put queues data, which fills the start of the last space, to be written at the offset. The file's
// last part ends it.
func (w *writers) put(f *output, data []byte, offset int64, last bool) {
	if !last {
		f.left.Add(1)
	}
	w.batch.used += len(data)
	w.batch.parts = append(w.batch.parts, part{f, data, offset})
}

// next returns an empty batch.
func (w *writers) next() *batch {
	if w.queue == nil && !w.inline {
		w.start()
	}
	if w.queue != nil {
		if b := <-w.free; b != nil {
			return b
		}
	}
	return &batch{buf: make([]byte, batchBytes)}
}

func (w *writers) start() {
	w.queue, w.free = make(chan *batch, batches), make(chan *batch, batches)
	for range batches {
		w.free <- nil // the batch is allocated when it is first needed
	}
	for range min(runtime.GOMAXPROCS(0), maxWriters) {
		w.ended.Go(func() {
			for b := range w.queue {
				w.write(b)
				w.free <- b
			}
		})
	}
}

// flush hands the current batch to a writer.
func (w *writers) flush() {
	switch {
	case w.batch == nil:
	case w.inline:
		w.write(w.batch)
	default:
		w.queue <- w.batch // never blocks: there are no more batches than places
		w.batch = nil
	}
}

// write goes through all parts even after an error or a panic, because they hold descriptors.
func (w *writers) write(b *batch) {
	for _, p := range b.parts {
		w.writePart(p)
	}
	clear(b.parts) // so that no file stays in memory
	b.parts, b.used = b.parts[:0], 0
}

// writePart writes a part and lets go of its file.
func (w *writers) writePart(p part) {
	err := w.unlessFailed(func() error { return failed("write", pwrite(p.file.fd, p.data, p.offset)) })
	if err != nil {
		w.fail(p.file, err)
	}
	w.release(p.file)
}

// release finishes the file after its last part.
func (w *writers) release(f *output) {
	if f.left.Add(-1) > 0 {
		return
	}
	err := w.unlessFailed(func() error { return w.apply(f) })
	if err := errors.Join(err, failed("close", unix.Close(f.fd))); err != nil {
		w.fail(f, err)
	}
}

// unlessFailed does something with a file unless one has failed before. A panic counts as an error.
func (w *writers) unlessFailed(do func() error) (err error) {
	defer crash.Recover(&err)
	if w.failed.Load() {
		return nil
	}
	return do()
}

func (w *writers) fail(f *output, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil || f.number < w.at {
		w.err, w.at = entryError(w.layer, f.name, err), f.number
	}
	w.failed.Store(true)
}

// wait returns once all files are written and closed, with the error of the first file that failed.
func (w *writers) wait() error {
	w.flush()
	if w.queue != nil {
		close(w.queue)
		w.ended.Wait()
		w.queue = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

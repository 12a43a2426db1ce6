package unpack

import (
	"errors"
	"io"
	"sync"

	"github.com/stepexec/stepexec/crash"
)

// A pipeline runs the stages of a layer's stream at the same time, each one that reads ahead in a goroutine of
// its own. The stages of a small layer run in the caller's goroutine instead.
type pipeline struct {
	small   bool
	quit    chan struct{}
	stages  sync.WaitGroup
	decoder io.Closer // to be closed when no stage uses it; may be nil
	stop    func() error
}

var errStopped = errors.New("reading was stopped")

// newPipeline returns a pipeline without stages. Its stop ends them all, waits for them, also for a Read of
// the source that is going on, and closes the decoder; it may be called again.
func newPipeline(small bool) *pipeline {
	p := &pipeline{small: small, quit: make(chan struct{})}
	p.stop = sync.OnceValue(func() error {
		close(p.quit)
		p.stages.Wait()
		if p.decoder == nil {
			return nil
		}
		return p.decoder.Close()
	})
	return p
}

// ahead adds a stage: it reads r from now on, at most depth blocks of size bytes ahead of who reads the result.
func (p *pipeline) ahead(r io.Reader, depth, size int) io.Reader {
	if p.small {
		return r
	}
	a := &readAhead{full: make(chan block, depth), free: make(chan []byte, depth), quit: p.quit}
	for range depth {
		a.free <- nil // made when it is needed
	}
	p.stages.Go(func() { a.run(r, size) })
	return a
}

// A readAhead is a ring of blocks between two stages. (io.Pipe, which hands over every single Read, is slower
// than no pipe.)
type readAhead struct {
	full chan block  // read and not yet consumed
	free chan []byte // to be filled
	quit chan struct{}

	buf  []byte // the block that Read is in
	rest []byte // what is left of it
	err  error  // what comes after it
}

// A block is a piece of a stream, and the error that came with its end.
type block struct {
	data []byte
	err  error
}

func (a *readAhead) run(r io.Reader, size int) {
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.quit:
			return
		}
		if buf == nil {
			buf = make([]byte, size)
		}
		n, err := a.fill(r, buf)
		a.full <- block{buf[:n], err} // never blocks: there are no more blocks than places
		if err != nil {
			return
		}
	}
}

// fill reads until p is full or the stream ends, with the reader's own error, or the pipeline does. A
// panic of the reader is an error, too.
func (a *readAhead) fill(r io.Reader, p []byte) (n int, err error) {
	defer crash.Recover(&err)
	const mostEmpty = 100 // reads in a row that bring nothing, as in package bufio
	for empty := 0; n < len(p) && err == nil; {
		select {
		case <-a.quit:
			return n, errStopped
		default:
		}
		var k int
		k, err = r.Read(p[n:])
		n += k
		if empty++; k > 0 {
			empty = 0
		}
		if empty == mostEmpty && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.buf != nil {
			a.free <- a.buf
			a.buf = nil
		}
		select {
		case b := <-a.full:
			a.buf, a.rest, a.err = b.data[:cap(b.data)], b.data, b.err
		case <-a.quit:
			return 0, errStopped
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

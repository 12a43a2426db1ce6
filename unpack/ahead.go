package unpack

import (
	"errors"
	"io"
	"sync"

	"github.com/stepexec/stepexec/crash"
)

// A pipeline runs the stages of a layer's stream concurrently: each stage that reads ahead has its
// own goroutine. The stages of a small layer run in the caller's goroutine instead.
type pipeline struct {
	small   bool
	quit    chan struct{}
	stages  sync.WaitGroup
	decoder io.Closer // closed once no stage uses it; may be nil
	stop    func() error
}

var errStopped = errors.New("reading was stopped")

// newPipeline returns a pipeline without stages. stop ends all stages, waits for them (including a
// Read of the source in progress) and closes the decoder. It may be called more than once.
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

// ahead adds a stage that starts reading r at once and stays at most depth blocks of size bytes
// ahead of the returned reader.
func (p *pipeline) ahead(r io.Reader, depth, size int) io.Reader {
	if p.small {
		return r
	}
	a := &readAhead{full: make(chan block, depth), free: make(chan []byte, depth), quit: p.quit}
	for range depth {
		a.free <- nil // the block is allocated when it is first needed
	}
	p.stages.Go(func() { a.run(r, size) })
	return a
}

// A readAhead is a ring of blocks between two stages. (io.Pipe, which hands over every single Read, is slower
// than no pipe.)
type readAhead struct {
	full chan block  // filled, not yet consumed
	free chan []byte // empty, ready to be filled
	quit chan struct{}

	buf  []byte // block that Read is consuming
	rest []byte // unread part of buf
	err  error  // error that follows rest
}

// A block is a piece of a stream with the error, if any, that ended the stream.
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

// fill reads until p is full, the stream ends (with the reader's error), or the pipeline stops. A
// panic in the reader becomes an error too.
func (a *readAhead) fill(r io.Reader, p []byte) (n int, err error) {
	defer crash.Recover(&err)
	const mostEmpty = 100 // consecutive empty reads, as in package bufio
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

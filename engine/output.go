package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/stepexec/stepexec/logs"
)

// drainTime bounds how long a step's output is read after its end. Its
// processes are dead by then; only one that was given the FIFO by other ways
// than its birth could hold it open.
const drainTime = 5 * time.Second

// output reads what a step prints, each stream by a goroutine of its own.
type output struct {
	stdout, stderr *stream
	reading        sync.WaitGroup
}

type stream struct {
	fifo *logs.FIFO
	into io.WriteCloser // mask, then lines, then events
	line io.Closer
	err  error
}

func (r *run) newOutput(n *node, dir string) (*output, error) {
	stdout, err := r.newStream(n, dir, Stdout)
	if err != nil {
		return nil, err
	}
	stderr, err := r.newStream(n, dir, Stderr)
	if err != nil {
		return nil, errors.Join(err, stdout.fifo.Close())
	}
	return &output{stdout: stdout, stderr: stderr}, nil
}

func (r *run) newStream(n *node, dir, name string) (*stream, error) {
	fifo, err := logs.NewFIFO(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	lines := logs.NewLines(func(line []byte, partial bool) {
		r.emit(Event{Kind: Line, Step: n.step.Name, Stream: name, Text: string(line), Partial: partial})
	})
	return &stream{fifo: fifo, into: r.mask.Writer(lines), line: lines}, nil
}

// read begins to read. The container holds the streams by now.
func (o *output) read() error {
	for _, s := range []*stream{o.stdout, o.stderr} {
		if err := s.fifo.Seal(); err != nil {
			return err
		}
		o.reading.Go(func() {
			_, err := io.Copy(s.into, s.fifo)
			s.err = errors.Join(err, s.into.Close(), s.line.Close())
		})
	}
	return nil
}

// drain waits until all that the step wrote has been read.
func (o *output) drain() error {
	deadline := time.Now().Add(drainTime)
	err := errors.Join(o.stdout.fifo.SetReadDeadline(deadline), o.stderr.fifo.SetReadDeadline(deadline))
	o.reading.Wait()
	for _, s := range []*stream{o.stdout, o.stderr} {
		if errors.Is(s.err, os.ErrDeadlineExceeded) {
			s.err = nil // all that came in time was read
		}
		if s.err != nil {
			err = errors.Join(err, fmt.Errorf("read the step's output: %w", s.err))
		}
	}
	return err
}

// close ends the reading, if it goes on, and removes the FIFOs.
func (o *output) close() error {
	err := errors.Join(o.stdout.fifo.Close(), o.stderr.fifo.Close())
	o.reading.Wait()
	return err
}

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
)

// drainTime bounds how long a step's output is read after its end. Its
// processes are dead by then; only one that was given the FIFO by other ways
// than its birth could hold it open.
const drainTime = 5 * time.Second

// output reads what a step prints.
type output struct {
	fifos []*logs.FIFO // stdout, stderr
	pump  *logs.Pump
	ends  []io.Closer   // of the writers that the pump writes to, in order
	done  chan struct{} // closed once all is read; nil before read
	err   error         // of the pump, once done is closed
}

// newOutput makes the FIFOs of a step in dir. Reading begins with read; looked is
// shown what is read, if it is not nil.
func (r *run) newOutput(n *node, dir string, looked *printed) (_ *output, err error) {
	o := &output{}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	into, err := r.sinks(n, o)
	if err != nil {
		return nil, err
	}
	into, ends := looked.tee(into, r.mask)
	o.ends = append(o.ends, ends...)
	for _, name := range []string{Stdout, Stderr} {
		fifo, err := logs.NewFIFO(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		o.fifos = append(o.fifos, fifo)
	}
	o.pump, err = logs.NewPump(o.fifos, into)
	return o, err
}

// sinks are where a step's two streams go: nowhere, to its file, to the caller's
// writers, or into events, a line each. All but nowhere are masked.
func (r *run) sinks(n *node, o *output) ([]io.Writer, error) {
	var last [2]io.Writer
	switch {
	case n.step.Output == pipeline.OutputNone:
		return []io.Writer{io.Discard, io.Discard}, nil
	case n.step.Output != "":
		file, err := r.openOutput(n.step.Output)
		if err != nil {
			return nil, err
		}
		last = [2]io.Writer{file, file}
		defer func() { o.ends = append(o.ends, file) }() // after the masks, which hold something back
	case r.o.Stdout != nil:
		last = [2]io.Writer{r.o.Stdout, r.o.Stderr}
	default:
		for i, name := range []string{Stdout, Stderr} {
			lines := logs.NewLines(func(line []byte, partial bool) {
				r.emit(Event{Kind: Line, Step: n.step.Name, Stream: name, Text: string(line), Partial: partial})
			})
			last[i] = lines
			defer func() { o.ends = append(o.ends, lines) }()
		}
	}
	var into []io.Writer
	for _, w := range last {
		mask := r.mask.Writer(w)
		into, o.ends = append(into, mask), append(o.ends, mask)
	}
	return into, nil
}

// read begins to read, once the container holds the streams.
func (o *output) read() error {
	for _, fifo := range o.fifos {
		if err := fifo.Seal(); err != nil {
			return err
		}
	}
	o.done = make(chan struct{})
	go func() {
		defer close(o.done)
		o.err = o.pump.Run()
		if o.err != nil && !errors.Is(o.err, os.ErrDeadlineExceeded) {
			// Nobody reads any more: as in a shell's pipe, the step is told by
			// SIGPIPE, where it would else wait for ever.
			for _, fifo := range o.fifos {
				o.err = errors.Join(o.err, fifo.Close())
			}
		}
		for _, end := range o.ends {
			o.err = errors.Join(o.err, end.Close())
		}
	}()
	return nil
}

// drain waits until all that the step wrote has been read.
func (o *output) drain() error {
	if err := o.pump.SetDeadline(time.Now().Add(drainTime)); err != nil {
		return err
	}
	<-o.done
	switch {
	case o.err == nil || errors.Is(o.err, os.ErrDeadlineExceeded):
		return nil
	case errors.Is(o.err, unix.EPIPE):
		return nil // who reads stepexec's output has had enough; how the step took it is in its exit code
	}
	return fmt.Errorf("pass on the step's output: %w", o.err)
}

// close removes the FIFOs. The step's processes must be dead, so that the
// reading, if it was begun, comes to its end.
func (o *output) close() error {
	var failed []error
	if o.done != nil {
		<-o.done
	} else {
		for _, end := range o.ends {
			failed = append(failed, end.Close())
		}
	}
	if o.pump != nil {
		failed = append(failed, o.pump.Close())
	}
	for _, fifo := range o.fifos {
		failed = append(failed, fifo.Close())
	}
	return errors.Join(failed...)
}

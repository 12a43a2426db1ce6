package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
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
	masks *maskFile    // nil: the step has none
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
	if o.masks, err = r.maskFiles.add(n); err != nil {
		return nil, err
	}
	into, err := r.sinks(n, o, looked)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{event.Stdout, event.Stderr} {
		fifo, err := logs.NewFIFO(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		o.fifos = append(o.fifos, fifo)
	}
	if o.pump, err = logs.NewPump(o.fifos, into); err != nil {
		return nil, err
	}
	if o.masks != nil {
		o.pump.Watch(o.masks.fd, r.maskFiles.look)
	}
	return o, nil
}

// sinks are where a step's two streams go: nowhere, to its file, to the caller's
// writers, or into events, a line each. All but nowhere are masked.
func (r *run) sinks(n *node, o *output, looked *printed) ([]io.Writer, error) {
	var last []io.Writer
	switch {
	case n.step.Output == pipeline.OutputNone:
		if looked == nil {
			return []io.Writer{io.Discard, io.Discard}, nil
		}
		last = looked.tee(o, []io.Writer{io.Discard, io.Discard})
	case n.step.Output != "":
		file, err := r.openOutput(n.step.Output)
		if err != nil {
			return nil, err
		}
		defer func() { o.ends = append(o.ends, file) }() // after the masks, which hold something back
		last = looked.tee(o, []io.Writer{file, file})
	case n.extra != nil:
		last = looked.tee(o, []io.Writer{n.extra.Stdout, n.extra.Stderr})
	case r.o.Stdout != nil:
		last = looked.tee(o, []io.Writer{r.o.Stdout, r.o.Stderr})
	default:
		last = r.lineSinks(n, o, looked)
	}
	var into []io.Writer
	var masks []io.Closer
	for _, w := range last {
		mask := masking{&r.maskFiles, o.masks, r.mask.Writer(w)}
		into, masks = append(into, mask), append(masks, mask)
	}
	o.ends = append(masks, o.ends...)
	return into, nil
}

// lineSinks are where lines become events, within the step's limit.
func (r *run) lineSinks(n *node, o *output, looked *printed) (last []io.Writer) {
	limit := newOutputLimit(r.outputLimit(n), func(stream string, lines []logs.Line) {
		r.emitLines(event.Event{Step: n.step.Name, Stream: stream}, lines)
	}, func(text string) { r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: text}) })
	for i, name := range []string{event.Stdout, event.Stderr} {
		lines := logs.NewLines(func(lines []logs.Line) {
			looked.add(i, lines)
			limit.add(name, lines)
		})
		last, o.ends = append(last, lines), append(o.ends, lines)
	}
	o.ends = append(o.ends, limit)
	return last
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
	failed = append(failed, o.masks.close())
	return errors.Join(failed...)
}

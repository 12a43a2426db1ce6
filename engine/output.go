package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
)

// drainTime bounds how long a program's output is read after its end. Its processes are
// dead by then; only a process outside the container that was handed the FIFO could hold
// it open.
const drainTime = 5 * time.Second

// output reads what a program prints.
type output struct {
	fifos []*logs.FIFO // one for both streams, or one for stdout and one for stderr
	masks *maskFile    // nil: the program has none
	pump  *logs.Pump
	into  sinks
	done  chan struct{} // closed once everything is read; nil before read
	err   error         // of the reading; final once done is closed
}

// newOutput makes the FIFOs of a program's output in a folder. It takes over sinks and
// masks. Reading begins with read.
func newOutput(dir string, into sinks, masks *maskFile) (_ *output, err error) {
	o := &output{into: into, masks: masks}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	for _, name := range streams[:len(into.writers)] {
		fifo, err := logs.NewFIFO(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		o.fifos = append(o.fifos, fifo)
	}
	if o.pump, err = logs.NewPump(o.fifos, into.writers); err != nil {
		return nil, err
	}
	if masks != nil {
		o.pump.Watch(masks.fd, masks.of.look)
	}
	return o, nil
}

// streams are the streams of a program, in the order of the writers of sinks.
var streams = [...]string{event.Stdout, event.Stderr}

// stdout and stderr are the ends that the program writes to.
func (o *output) stdout() *os.File { return o.fifos[0].Writer() }
func (o *output) stderr() *os.File { return o.fifos[len(o.fifos)-1].Writer() }

// oneOrTwo are the writers for a program whose stderr may have a writer of its own.
func oneOrTwo(stdout, stderr io.Writer) []io.Writer {
	if stderr == nil {
		return []io.Writer{stdout}
	}
	return []io.Writer{stdout, stderr}
}

// sinks are where a step's streams go: nowhere, to its file, to the caller's
// writers, or into events, one for each line. Everything but nowhere is masked. Whoever
// waits for the step to be ready looks on.
func (r *run) sinks(n *node, masks *maskFile, sudo *setuidComplaint, looked *printed) (sinks, error) {
	var to sinks
	switch {
	case n.step.Output == pipeline.OutputNone:
		to.writers = []io.Writer{io.Discard}
		if looked == nil {
			return to, nil
		}
		to = looked.tee(to)
	case n.step.Output != "":
		file, err := r.openOutput(n.step.Output)
		if err != nil {
			return to, err
		}
		to = looked.tee(sinks{[]io.Writer{file}, []io.Closer{file}})
	case n.extra != nil:
		to = looked.tee(sinks{writers: oneOrTwo(n.extra.Stdout, n.extra.Stderr)})
	case r.o.Streams.Stdout != nil:
		to = looked.tee(sinks{writers: oneOrTwo(r.o.Streams.Stdout, r.o.Streams.Stderr)})
	default:
		to = r.lineSinks(n, looked)
	}
	return to.through(func(_ int, to io.Writer) (io.Writer, io.Closer) {
		w := masking{&r.maskFiles, masks, sudo, r.mask.Writer(to)}
		return w, w
	}), nil
}

// lineSinks make each line an event, within the step's limit.
func (r *run) lineSinks(n *node, looked *printed) (to sinks) {
	limit := newOutputLimit(r.outputLimit(n), func(stream string, lines []logs.Line) {
		r.emitLines(event.Event{Step: n.step.Name, Stream: stream}, lines)
	}, func(text string) { r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: text}) })
	pipes := 1
	if r.o.Streams.Apart {
		pipes = 2
	}
	for i, name := range streams[:pipes] {
		lines := logs.NewLines(func(lines []logs.Line) {
			looked.add(i, lines)
			limit.add(name, lines)
		})
		to.writers, to.ends = append(to.writers, lines), append(to.ends, lines)
	}
	to.ends = append(to.ends, limit)
	return to
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
		o.err = o.pass()
		if o.err != nil && !errors.Is(o.err, os.ErrDeadlineExceeded) {
			// Nobody reads any more: as in a shell's pipe, SIGPIPE tells the program, which
			// would otherwise wait for ever.
			for _, fifo := range o.fifos {
				o.err = errors.Join(o.err, fifo.Close())
			}
		}
		o.err = errors.Join(o.err, o.into.close())
	}()
	return nil
}

// pass reads both streams to their ends.
func (o *output) pass() (err error) {
	defer crash.Recover(&err)
	return o.pump.Run()
}

// close closes the ends of the sinks in order.
func (s sinks) close() (err error) {
	var failed []error
	for _, end := range s.ends {
		failed = append(failed, closeSafely(end))
	}
	return errors.Join(failed...)
}

func closeSafely(c io.Closer) (err error) {
	defer crash.Recover(&err)
	return c.Close()
}

// drain waits until everything that the program wrote has been read.
func (o *output) drain() error {
	if err := o.pump.SetDeadline(time.Now().Add(drainTime)); err != nil {
		return err
	}
	<-o.done
	switch {
	case o.err == nil || errors.Is(o.err, os.ErrDeadlineExceeded):
		return nil
	case errors.Is(o.err, unix.EPIPE):
		return nil // the reader of stepexec's output has had enough; the step's exit code says how it took that
	}
	return fmt.Errorf("pass on the step's output: %w", o.err)
}

// close removes the FIFOs. The program's processes must be dead, so that the reading, if
// it was begun, comes to its end.
func (o *output) close() error {
	var failed []error
	if o.done != nil {
		<-o.done
	} else {
		failed = append(failed, o.into.close())
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

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/stepexec/stepexec/logs"
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

// newOutput makes the FIFOs of a step in dir. Reading begins with read.
func (r *run) newOutput(n *node, dir string) (_ *output, err error) {
	o := &output{}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	var into []io.Writer
	for _, name := range []string{Stdout, Stderr} {
		fifo, err := logs.NewFIFO(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		o.fifos = append(o.fifos, fifo)
		lines := logs.NewLines(func(line []byte, partial bool) {
			r.emit(Event{Kind: Line, Step: n.step.Name, Stream: name, Text: string(line), Partial: partial})
		})
		mask := r.mask.Writer(lines)
		into, o.ends = append(into, mask), append(o.ends, mask, lines)
	}
	o.pump, err = logs.NewPump(o.fifos, into)
	return o, err
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
	if o.err != nil && !errors.Is(o.err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("read the step's output: %w", o.err)
	}
	return nil
}

// close removes the FIFOs. The step's processes must be dead, so that the
// reading, if it was begun, comes to its end.
func (o *output) close() error {
	var failed []error
	if o.pump != nil {
		if o.done != nil {
			<-o.done
		}
		failed = append(failed, o.pump.Close())
	}
	for _, fifo := range o.fifos {
		failed = append(failed, fifo.Close())
	}
	return errors.Join(failed...)
}

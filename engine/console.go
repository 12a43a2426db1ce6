package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/sandbox"
)

// console is what a program in a container is connected to: the command of a step, a
// shell in what a step has left, or a program that joins a running step.
type console struct {
	input    *input   // nil: /dev/null
	output   *output  // nil: the program of a joined step, whose streams are pipes
	terminal *os.File // the user's; nil: none
}

// sinks are where the output of a program goes. With one writer for both streams, the program
// has one pipe for both, and what it writes keeps its order.
type sinks struct {
	writers []io.Writer // one for both streams, or one for stdout and one for stderr
	ends    []io.Closer // closed in this order once the streams have ended
}

// through puts a writer in front of each stream's writer, which is closed before it.
func (s sinks) through(in func(stream int, to io.Writer) (io.Writer, io.Closer)) sinks {
	var all sinks
	for i, to := range s.writers {
		writer, end := in(i, to)
		all.writers, all.ends = append(all.writers, writer), append(all.ends, end)
	}
	all.ends = append(all.ends, s.ends...)
	return all
}

// maskedBy masks what goes to the sinks.
func (s sinks) maskedBy(mask *logs.Mask) sinks {
	return s.through(func(_ int, to io.Writer) (io.Writer, io.Closer) {
		w := mask.Writer(to)
		return w, w
	})
}

// openConsole makes the FIFOs of a program's output for the sandbox with this ID, and the
// pipe of its input. It takes over its arguments, and closes them when it fails.
func openConsole(host *sandbox.Host, id string, from source, to sinks, masks *maskFile, terminal *os.File) (*console, error) {
	dir, err := host.Dir(id + "-output")
	if err != nil {
		return nil, errors.Join(err, from.close(), (&output{into: to, masks: masks}).close())
	}
	out, err := newOutput(dir, to, masks)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("capture the step's output: %w", err), from.close())
	}
	in, err := newInput(from)
	if err != nil {
		return nil, errors.Join(err, out.close())
	}
	return &console{in, out, terminal}, nil
}

// create makes the container of a step on the console. When it fails, it closes the
// console.
func (c *console) create(ctx context.Context, host *sandbox.Host, step *sandbox.Step) (*prepared, error) {
	step.Stdin, step.Stdout, step.Stderr = c.input.file(), c.output.stdout(), c.output.stderr()
	box, err := host.Prepare(ctx, step)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	p := &prepared{step: step, sandbox: box, console: c}
	if err := errors.Join(c.input.sealed(), c.output.read()); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

// close releases the console. The processes that hold its streams must be dead.
func (c *console) close() error { return errors.Join(c.input.close(), c.output.close()) }

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/pipeline"
)

// input feeds a step's standard input through a pipe. The step does not get the
// file itself: of a terminal it could type into the shell of the user, and of a
// file it could open the descriptor anew for writing.
type input struct {
	from           *os.File
	owned          bool     // from was opened here
	reader, writer *os.File // of the pipe
	stop           int      // an eventfd
	done           chan struct{}
	err            error // once done is closed
}

// newInput returns nil for a step that has no input.
func (r *run) newInput(n *node) (_ *input, err error) {
	in := &input{from: r.o.Stdin, stop: -1}
	switch n.step.Stdin {
	case "":
		return nil, nil
	case pipeline.StdinInherited:
		if in.from == nil {
			return nil, errors.New("the step wants the standard input of stepexec, which there is none of here")
		}
	default:
		if in.from, err = openBelow(r.plan.WorkspaceSource, n.step.Stdin, os.O_RDONLY); err != nil {
			return nil, fmt.Errorf("open the step's standard input: %w", err)
		}
		in.owned = true
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	if in.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return in, in.pipe()
}

// pipe makes the pipe. Only our end is non-blocking: most programs take EAGAIN on
// their standard input for an error.
func (in *input) pipe() error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	err := unix.SetNonblock(ends[1], true)
	in.reader, in.writer = os.NewFile(uintptr(ends[0]), "stdin"), os.NewFile(uintptr(ends[1]), "stdin")
	return err
}

// file is what the container gets, nil for /dev/null.
func (in *input) file() *os.File {
	if in == nil {
		return nil
	}
	return in.reader
}

// sealed is called once the container has its copy of the pipe's end.
func (in *input) sealed() error {
	if in == nil {
		return nil
	}
	return in.reader.Close()
}

// begin begins to copy, once the step runs.
func (in *input) begin() {
	if in == nil {
		return
	}
	in.done = make(chan struct{})
	go func() {
		defer close(in.done)
		in.err = errors.Join(in.copy(), ignoreClosed(in.writer.Close()))
	}()
}

// copy ends with the input, with the step's last reader, or by close.
func (in *input) copy() error {
	buf := make([]byte, 32<<10)
	for {
		if stopped, err := in.wait(); stopped || err != nil {
			return err
		}
		n, err := in.from.Read(buf)
		if _, err := in.writer.Write(buf[:n]); errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("write the step's standard input: %w", err)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the step's standard input: %w", err)
		}
	}
}

// wait returns once there is something to read, or the input is being closed: a
// read of a terminal cannot be cut short.
func (in *input) wait() (stopped bool, err error) {
	for {
		polled := []unix.PollFd{{Fd: int32(in.stop), Events: unix.POLLIN}, {Fd: int32(in.from.Fd()), Events: unix.POLLIN}}
		switch _, err := unix.Poll(polled, -1); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false, fmt.Errorf("poll the step's standard input: %w", err)
		case polled[0].Revents != 0:
			return true, nil
		case polled[1].Revents != 0:
			return false, nil
		}
	}
}

// close ends the copying and releases all. On nil it does nothing.
func (in *input) close() error {
	if in == nil {
		return nil
	}
	var failed []error
	if in.done != nil {
		one := [8]byte{0: 1} // eventfd(2): a native-endian count; any that is not zero does
		_, err := unix.Write(in.stop, one[:])
		failed = append(failed, err, ignoreClosed(in.writer.Close()))
		<-in.done
		failed = append(failed, in.err)
	}
	for _, file := range []*os.File{in.reader, in.writer} {
		if file != nil {
			failed = append(failed, ignoreClosed(file.Close()))
		}
	}
	if in.owned {
		failed = append(failed, in.from.Close())
	}
	if in.stop >= 0 {
		failed = append(failed, unix.Close(in.stop))
	}
	return errors.Join(failed...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

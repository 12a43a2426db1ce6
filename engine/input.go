package engine

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/pipeline"
)

// source is the file that a program's standard input comes from.
type source struct {
	file  *os.File // nil: the program has none
	owned bool     // the file was opened for this program
}

// source returns the standard input of a step.
func (r *run) source(step *pipeline.PlannedStep) (source, error) {
	switch step.Stdin {
	case "":
		return source{}, nil
	case pipeline.StdinInherited:
		if r.o.Streams.Stdin == nil {
			return source{}, errors.New("the step reads the standard input of stepexec, but stepexec has none here")
		}
		return source{file: r.o.Streams.Stdin}, nil
	}
	file, err := r.openHost(step.Stdin, os.O_RDONLY)
	if err != nil {
		return source{}, fmt.Errorf("open the step's standard input: %w", err)
	}
	return source{file, true}, nil
}

func (s source) close() error {
	if !s.owned {
		return nil
	}
	return s.file.Close()
}

// input feeds a program's standard input through a pipe. The program does not get the
// file itself: through a terminal it could type into the user's shell, and it could open
// the descriptor of a file again for writing.
type input struct {
	from           source
	reader, writer *os.File      // ends of the pipe
	stop           int           // an eventfd that ends the copying
	done           chan struct{} // closed once the copying has ended; nil before begin
	err            error         // error of the copying; final once done is closed
}

// newInput takes over the source. It returns nil for a program that has none.
func newInput(from source) (_ *input, err error) {
	if from.file == nil {
		return nil, nil
	}
	in := &input{from: from, stop: -1}
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

// pipe makes the pipe. Only stepexec's end is non-blocking: most programs treat EAGAIN on
// their standard input as an error.
func (in *input) pipe() error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	err := unix.SetNonblock(ends[1], true)
	in.reader, in.writer = os.NewFile(uintptr(ends[0]), "stdin"), os.NewFile(uintptr(ends[1]), "stdin")
	return err
}

// file is the end of the pipe that the container gets; nil means /dev/null.
func (in *input) file() *os.File {
	if in == nil {
		return nil
	}
	return in.reader
}

// sealed must be called once the container has its copy of the pipe's end.
func (in *input) sealed() error {
	if in == nil {
		return nil
	}
	return in.reader.Close()
}

// begin starts the copying, once the program runs.
func (in *input) begin() {
	if in == nil {
		return
	}
	in.done = make(chan struct{})
	go func() {
		defer close(in.done)
		defer crash.Recover(&in.err)
		in.err = errors.Join(in.copy(), ignoreClosed(in.writer.Close()))
	}()
}

// copy ends at the end of the input, when the program's last reader is gone, or by close.
func (in *input) copy() error {
	buf := make([]byte, 32<<10)
	for {
		if stopped, err := in.wait(); stopped || err != nil {
			return err
		}
		n, err := in.from.file.Read(buf)
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

// wait returns once there is something to read, or the input is being closed. It polls
// because a read of a terminal cannot be interrupted.
func (in *input) wait() (stopped bool, err error) {
	for {
		polled := []unix.PollFd{{Fd: int32(in.stop), Events: unix.POLLIN}, {Fd: int32(in.from.file.Fd()), Events: unix.POLLIN}}
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

// close ends the copying and releases everything. On nil it does nothing.
func (in *input) close() error {
	if in == nil {
		return nil
	}
	var failed []error
	if in.done != nil {
		one := [8]byte{0: 1} // eventfd(2): a count in native byte order; any but zero will do
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
	failed = append(failed, in.from.close())
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

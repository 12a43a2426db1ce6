package logs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Pump reads the FIFOs of one step from a single goroutine. Two goroutines, one a stream, would
// wake in any order and so show an error message in front of the line that it followed.
type Pump struct {
	fifos    []*FIFO
	into     []io.Writer
	deadline atomic.Pointer[time.Time]
	wake     int // an eventfd: a deadline that is set ends a poll that has none
}

// NewPump returns a pump from each FIFO into the writer at the same place.
func NewPump(fifos []*FIFO, into []io.Writer) (*Pump, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &Pump{fifos: fifos, into: into, wake: fd}, nil
}

// Run copies until every FIFO is at its end, a writer fails, or the deadline of SetDeadline is over;
// then it returns os.ErrDeadlineExceeded.
func (p *Pump) Run() error {
	polled := []unix.PollFd{pollIn(p.wake)}
	for _, f := range p.fifos {
		polled = append(polled, pollIn(f.reader))
	}
	buf := make([]byte, 64<<10) // the size of a pipe
	for open := len(p.fifos); open > 0; {
		if err := p.poll(polled); err != nil {
			return err
		}
		for i := range p.fifos {
			if polled[i+1].Revents == 0 {
				continue
			}
			end, err := p.copyOnce(i, int(polled[i+1].Fd), buf)
			if err != nil {
				return err
			}
			if end {
				polled[i+1].Fd = -1 // poll(2) passes over it
				open--
			}
		}
	}
	return nil
}

func pollIn(fd int) unix.PollFd {
	return unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
}

// poll waits until there is something to do. What the step writes first is read first: a stream that
// becomes ready while the other one is being copied waits for the next call.
func (p *Pump) poll(polled []unix.PollFd) error {
	timeout := -1
	if deadline := p.deadline.Load(); deadline != nil {
		if timeout = int(time.Until(*deadline).Milliseconds()); timeout <= 0 {
			return os.ErrDeadlineExceeded
		}
		polled[0].Fd = -1 // the deadline is known
	}
	_, err := unix.Poll(polled, timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll the step's output: %w", err)
	}
	return nil
}

func (p *Pump) copyOnce(i, fd int, buf []byte) (end bool, err error) {
	n, err := unix.Read(fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read %s: %w", p.fifos[i].path, err)
	case n == 0:
		return true, nil
	}
	_, err = p.into[i].Write(buf[:n])
	return false, err
}

// SetDeadline ends Run at t, once: it is the fail-safe of draining, for a process that outlives the
// step may hold a write end open for ever. It may be called while Run runs.
func (p *Pump) SetDeadline(t time.Time) error {
	p.deadline.Store(&t)
	one := [8]byte{0: 1} // eventfd(2): a native-endian count; any that is not zero does
	_, err := unix.Write(p.wake, one[:])
	return err
}

// Close releases the pump. Run must have returned.
func (p *Pump) Close() error { return unix.Close(p.wake) }

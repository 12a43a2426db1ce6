package logs

import (
	"bytes"
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
	watched  []watched
	flush    []time.Time // by stream: when what the writer holds back is due; zero: it holds nothing
}

// HoldTime is how long a writer with a Flush may hold back what came, when nothing comes behind it: long
// enough for the rest of a line, and short for one who waits for a prompt.
const HoldTime = 50 * time.Millisecond

// flush calls w's Flush if it has one, which is what writers have that hold something back.
func flush(w io.Writer) error {
	if f, ok := w.(interface{ Flush() error }); ok {
		return f.Flush()
	}
	return nil
}

// NewPump returns a pump from each FIFO into the writer at the same place.
func NewPump(fifos []*FIFO, into []io.Writer) (*Pump, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &Pump{fifos: fifos, into: into, wake: fd, flush: make([]time.Time, len(fifos))}, nil
}

// watched is a descriptor that is no stream.
type watched struct {
	fd       int
	readable func()
}

// Watch has Run call readable whenever there is something to read from fd; it must read it. It is called
// before Run.
func (p *Pump) Watch(fd int, readable func()) {
	p.watched = append(p.watched, watched{fd, readable})
}

// Run copies, and flushes the writers in the pauses, until every FIFO is at its end, a writer fails, or the deadline of SetDeadline is over;
// then it returns os.ErrDeadlineExceeded.
func (p *Pump) Run() error {
	polled := []unix.PollFd{pollIn(p.wake)}
	for _, f := range p.fifos {
		polled = append(polled, pollIn(f.reader))
	}
	for _, w := range p.watched {
		polled = append(polled, pollIn(w.fd))
	}
	buf := make([]byte, 64<<10) // the size of a pipe
	for open := len(p.fifos); open > 0; {
		if err := p.poll(polled); err != nil {
			return err
		}
		for i, w := range p.watched {
			if polled[1+len(p.fifos)+i].Revents != 0 {
				w.readable()
			}
		}
		for i := range p.fifos {
			if polled[i+1].Revents == 0 {
				if err := p.flushDue(i); err != nil {
					return err
				}
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
	timeout := p.untilFlush()
	if deadline := p.deadline.Load(); deadline != nil {
		left := int(time.Until(*deadline).Milliseconds())
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		if timeout < 0 || left < timeout {
			timeout = left
		}
		polled[0].Fd = -1 // the deadline is known
	}
	_, err := unix.Poll(polled, timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll the step's output: %w", err)
	}
	return nil
}

// untilFlush is the time in milliseconds until a writer is to be flushed, -1 when none is.
func (p *Pump) untilFlush() int {
	timeout := -1
	for _, due := range p.flush {
		if !due.IsZero() {
			left := max(0, int(time.Until(due).Milliseconds())+1)
			if timeout < 0 || left < timeout {
				timeout = left
			}
		}
	}
	return timeout
}

// flushDue flushes a writer that has held something back for long enough, and for which there is
// nothing to read.
func (p *Pump) flushDue(i int) error {
	if p.flush[i].IsZero() || time.Now().Before(p.flush[i]) {
		return nil
	}
	p.flush[i] = time.Time{}
	return flush(p.into[i])
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
	if p.flush[i].IsZero() || bytes.IndexByte(buf[:n], '\n') >= 0 { // the line that is held begins here
		p.flush[i] = time.Now().Add(HoldTime)
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

package logs

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// FIFO is a named pipe that a container writes one of its output streams to (fifo(7)).
//
// Both ends are held: the read end is ours, the write end is what the runtime hands to the
// container. The order of a step's life is NewFIFO, Writer, Seal once the container has its copy,
// Pump to the end, Close.
type FIFO struct {
	path   string
	reader int // a descriptor, non-blocking: Pump polls it
	writer *os.File
	close  func() error
}

// NewFIFO makes the FIFO at path, mode 0600, and opens both ends. The open write end keeps a reader
// from seeing its end before the container has started. The error says which path and why.
func NewFIFO(path string) (*FIFO, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("make fifo %s: %w", path, err)
	}
	f, err := openFIFO(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, nil
}

func openFIFO(path string) (*FIFO, error) {
	reader, err := openEnd(path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	// The reader exists, so this open does not block although O_NONBLOCK is not set.
	writer, err := openEnd(path, unix.O_WRONLY)
	if err != nil {
		return nil, errors.Join(err, unix.Close(reader))
	}
	f := &FIFO{path: path, reader: reader, writer: os.NewFile(uintptr(writer), path)}
	f.close = sync.OnceValue(f.release)
	return f, nil
}

// openEnd uses open(2) and not os.OpenFile, which would register the write end with the poller and
// so set O_NONBLOCK on the open file description. The container inherits that description, and
// most programs take EAGAIN on their standard output for a fatal error.
func openEnd(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("open fifo %s: %w", path, err)
		}
		return fd, nil
	}
}

// Writer is the blocking write end, for the runtime to hand to the container. It is close-on-exec
// and stays valid until Seal or Close.
func (f *FIFO) Writer() *os.File { return f.writer }

// Seal closes our own write end: from then on the FIFO is at its end as soon as the last process of the
// container has closed its copy. Sealing twice is no error.
func (f *FIFO) Seal() error {
	return ignoreClosed(f.writer.Close())
}

// Close closes both ends and removes the FIFO. It must not be called while a Pump reads it. Later calls
// do nothing and return the first call's error.
func (f *FIFO) Close() error { return f.close() }

func (f *FIFO) release() error {
	err := errors.Join(f.Seal(), unix.Close(f.reader))
	if rmErr := os.Remove(f.path); rmErr != nil && !errors.Is(rmErr, os.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

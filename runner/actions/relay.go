package actions

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// relay is a pipe whose output is copied until the program that it was made for has ended,
// whoever else may still hold it.
type relay struct {
	in, out *os.File
	done    chan error
}

func (r *relay) open(to io.Writer) (err error) {
	if r.out, r.in, err = os.Pipe(); err != nil {
		return err
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.copy(to) }() // ends with end or close
	return nil
}

func (r *relay) copy(to io.Writer) (err error) {
	defer crash.Recover(&err)
	_, err = io.Copy(to, r.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = r.drain(to)
	}
	return err
}

// end returns when all that was written before it has been copied.
func (r *relay) end() error {
	if err := r.out.SetReadDeadline(time.Now()); err != nil {
		return err
	}
	return <-r.done
}

func (r *relay) close() {
	_ = r.in.Close()
	_ = r.out.Close()
}

// drain copies what is in the pipe now, and no more: a process in the background may write
// for ever.
func (r *relay) drain(to io.Writer) error {
	if err := r.out.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	raw, err := r.out.SyscallConn()
	if err != nil {
		return err
	}
	left := 0
	if err := raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	_, err = io.CopyN(to, r.out, int64(left))
	return err
}

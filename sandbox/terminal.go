package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/console"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The size that a terminal has until Resize, in characters: that of a VT100.
const (
	terminalWidth  = 80
	terminalHeight = 24
)

// terminalDrain bounds how long a terminal is read after its step's end. All
// processes of the step are dead by then; only one that was given the terminal
// by other ways than its birth could still write to it.
const terminalDrain = 5 * time.Second

// Terminal is the terminal of a step: the step has the one side of a
// pseudo-terminal (pty(7)) as its three streams, and Terminal the other.
//
//	Step.Stdin ──▶ master ──▶ step
//	Step.Stdout ◀── master ◀── step
//
// The user's own terminal is never handed in: a step could type into the
// user's shell by it (TIOCSTI, CVE-2016-7545).
type Terminal struct {
	control console.Console // the master, for its settings
	master  *os.File        // the master again, for bytes
	held    sync.Mutex      // guards slave
	slave   *os.File        // the step's side, held so that the master has no end before end; then nil
	ended   chan struct{}   // closed by end
	in, out *os.File        // of the step; in is nil without input
	copying sync.WaitGroup
	hangUp  func() error // close master and control
	err     error        // of copying out, once that is done
}

// withTerminal asks the runtime for a terminal. Programs look at TERM; xterm
// is what docker says, and known to every image that knows terminals at all.
func withTerminal(process *specs.Process) {
	process.Terminal = true
	if !slices.ContainsFunc(process.Env, func(v string) bool { return strings.HasPrefix(v, "TERM=") }) {
		process.Env = append(process.Env, "TERM=xterm")
	}
}

// receive takes the master from a runtime that has made the container, and
// begins to copy what it shows. It does not outlast ctx.
func (s *consoleSocket) receive(ctx context.Context, step *Step) (*Terminal, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.Socket.Close() }) // Close is called again, and says it then
	defer stop()
	control, err := s.ReceiveMaster()
	if err != nil {
		return nil, fmt.Errorf("receive the step's terminal from the runtime: %w", err)
	}
	t := &Terminal{control: control, ended: make(chan struct{})}
	if err := t.open(step); err != nil {
		return nil, errors.Join(fmt.Errorf("open the step's terminal: %w", err), t.release())
	}
	t.copying.Go(t.copyOut)
	return t, nil
}

func (t *Terminal) open(step *Step) (err error) {
	if err := t.Resize(terminalWidth, terminalHeight); err != nil {
		return err
	}
	if t.slave, err = openSlave(t.control.Fd()); err != nil {
		return err
	}
	if t.master, err = pollable(t.control.Fd()); err != nil {
		return err
	}
	t.hangUp = sync.OnceValue(func() error { return errors.Join(t.master.Close(), t.control.Close()) })
	if t.out, err = pollable(step.Stdout.Fd()); err != nil {
		return err
	}
	if step.Stdin == nil {
		return nil
	}
	t.in, err = pollable(step.Stdin.Fd())
	return err
}

// openSlave opens the other side of a master without a path, which would be
// one of the container's (TIOCGPTPEER, ioctl_tty(2)).
func openSlave(master uintptr) (*os.File, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, os.NewSyscallError("TIOCGPTPEER", errno)
	}
	return os.NewFile(fd, "terminal"), nil
}

// pollable returns a copy of a descriptor on which Close and deadlines end a
// Read or Write that waits.
func pollable(fd uintptr) (*os.File, error) {
	dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(dup, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(dup))
	}
	return os.NewFile(uintptr(dup), "terminal"), nil
}

// Resize tells the step how many characters its terminal shows; its processes
// in the foreground get SIGWINCH.
func (t *Terminal) Resize(width, height uint16) error {
	if err := t.control.Resize(console.WinSize{Width: width, Height: height}); err != nil {
		return fmt.Errorf("resize the step's terminal: %w", err)
	}
	return nil
}

// begin begins to type the input, once the step runs.
func (t *Terminal) begin() { t.copying.Go(t.copyIn) }

// copyOut ends when all sides of the step are closed, or by close. When nobody
// reads what it writes any more the step is told by SIGHUP, as by a terminal
// that is closed.
func (t *Terminal) copyOut() {
	defer func() { t.err = errors.Join(t.err, t.out.Close()) }() // whoever reads it is at its end then
	_, err := io.Copy(t.out, t.master)
	switch {
	case errors.Is(err, unix.EIO): // pty(7): no side of the step is open
	case errors.Is(err, unix.EPIPE):
		t.err = t.hangUp()
	case !isGivenUp(err):
		t.err = err
	}
}

// copyIn types the step's input, if it has any, and then the end of file. Its errors are not reported: the step
// is gone, or is being removed.
func (t *Terminal) copyIn() {
	typed := &typist{to: t.master, atStart: true}
	if t.in != nil {
		if _, err := io.Copy(typed, t.in); err != nil {
			return
		}
	}
	if typed.end() == nil {
		t.stayAtEnd(typed)
	}
}

func isGivenUp(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed)
}

// end lets the copying of the output come to its end, once all processes of
// the step are dead. What is still being typed would wait for ever: Linux says
// EAGAIN to who writes to a full terminal that nobody has open any more.
func (t *Terminal) end() error {
	if t == nil {
		return nil
	}
	_ = t.master.SetWriteDeadline(time.Now()) // an error says that it is closed already
	t.held.Lock()
	defer t.held.Unlock()
	if t.slave == nil {
		return nil
	}
	close(t.ended)
	err := t.slave.Close()
	t.slave = nil
	return err
}

// close waits until all output is copied, and releases the terminal. The step
// must be dead. On nil it does nothing.
func (t *Terminal) close() error {
	if t == nil {
		return nil
	}
	err := t.end()
	soon := time.Now().Add(terminalDrain)
	for _, file := range []*os.File{t.out, t.master} {
		_ = file.SetDeadline(soon) // an error says that it is closed already, or is of a kind that never waits
	}
	if t.in != nil {
		err = errors.Join(err, t.in.Close())
	}
	t.copying.Wait()
	return errors.Join(err, t.err, t.hangUp())
}

// release undoes a part of open.
func (t *Terminal) release() error {
	failed := []error{t.control.Close()}
	for _, file := range []*os.File{t.slave, t.master, t.out, t.in} {
		if file != nil {
			failed = append(failed, file.Close())
		}
	}
	return errors.Join(failed...)
}

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

	"github.com/stepexec/stepexec/crash"
)

// The size of a terminal until Resize, in characters: that of a VT100.
const (
	terminalWidth  = 80
	terminalHeight = 24
)

// terminalDrain bounds how long a terminal is read after its step's end. All processes of the step
// are dead by then; only a process that received the terminal from another one could still write to
// it.
const terminalDrain = 5 * time.Second

// Terminal is the terminal of a step: the step has one side of a pseudo-terminal (pty(7)) as its
// three streams, and Terminal has the other.
//
//	Step.Stdin ──▶ master ──▶ step
//	Step.Stdout ◀── master ◀── step
//
// The user's own terminal is never passed in: a step could use it to type into the user's shell
// (TIOCSTI, CVE-2016-7545).
type Terminal struct {
	control console.Console // the master, for its settings
	master  *os.File        // the master again, for bytes
	held    sync.Mutex      // guards slave
	slave   *os.File        // the step's side, held so that the master has no end before end; then nil
	ended   chan struct{}   // closed by end
	in, out *os.File        // files of the step; in is nil without input
	copying crash.Group
	hangUp  func() error // closes master and control
	err     error        // error of copying out, once that has ended
}

// withTerminal asks the runtime for a terminal. Programs read TERM; docker uses xterm, and every
// image with a terminal database knows it.
func withTerminal(process *specs.Process) {
	process.Terminal = true
	if !slices.ContainsFunc(process.Env, func(v string) bool { return strings.HasPrefix(v, "TERM=") }) {
		process.Env = append(process.Env, "TERM=xterm")
	}
}

// receive takes the master from a runtime that has created the container, and begins to copy its
// output. It returns when ctx ends.
func (s *consoleSocket) receive(ctx context.Context, step *Step) (*Terminal, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.Socket.Close() }) // Close is called again and returns the error then
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

// openSlave opens the other side of a master without using a path, which would be resolved in the
// container (TIOCGPTPEER, ioctl_tty(2)).
func openSlave(master uintptr) (*os.File, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, os.NewSyscallError("TIOCGPTPEER", errno)
	}
	return os.NewFile(fd, "terminal"), nil
}

// pollable returns a copy of a descriptor on which Close and deadlines end a waiting Read or Write.
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

// Resize sets the size of the step's terminal in characters; the step's foreground processes get
// SIGWINCH.
func (t *Terminal) Resize(width, height uint16) error {
	if err := t.control.Resize(console.WinSize{Width: width, Height: height}); err != nil {
		return fmt.Errorf("resize the step's terminal: %w", err)
	}
	return nil
}

// begin begins to type the input, once the step runs.
func (t *Terminal) begin() { t.copying.Go(t.copyIn) }

// copyOut ends when all sides of the step are closed, or on close. When nobody reads the output any
// more, the step gets SIGHUP, as from a terminal that is closed.
func (t *Terminal) copyOut() {
	defer func() { t.err = errors.Join(t.err, t.out.Close()) }() // whoever reads it then sees the end
	_, err := io.Copy(t.out, t.master)
	switch {
	case errors.Is(err, unix.EIO): // pty(7): the step has no side open
	case errors.Is(err, unix.EPIPE):
		t.err = t.hangUp()
	case !isGivenUp(err):
		t.err = err
	}
}

// copyIn types the step's input, if it has any, and then the end of file. It ignores errors: the
// step has ended, or is being removed.
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

// end lets the copying of the output finish, once all processes of the step are dead. Input that is
// still being typed would wait forever: Linux returns EAGAIN for a full terminal that nobody has
// open any more.
func (t *Terminal) end() error {
	if t == nil {
		return nil
	}
	_ = t.master.SetWriteDeadline(time.Now()) // an error means that it is already closed
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

// close waits until all output is copied, and releases the terminal. The step must be dead. It does
// nothing on nil.
func (t *Terminal) close() error {
	if t == nil {
		return nil
	}
	err := t.end()
	soon := time.Now().Add(terminalDrain)
	for _, file := range []*os.File{t.out, t.master} {
		_ = file.SetDeadline(soon) // an error means that it is already closed, or is a file that never blocks
	}
	if t.in != nil {
		err = errors.Join(err, t.in.Close())
	}
	crashed := t.copying.Wait()
	return errors.Join(err, crashed, t.err, t.hangUp())
}

// release undoes a partial receive.
func (t *Terminal) release() error {
	failed := []error{t.control.Close()}
	for _, file := range []*os.File{t.slave, t.master, t.out, t.in} {
		if file != nil {
			failed = append(failed, file.Close())
		}
	}
	return errors.Join(failed...)
}

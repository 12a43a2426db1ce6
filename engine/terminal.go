package engine

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	terminal "github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/sandbox"
)

// lend makes the program's terminal follow the size of the user's terminal. When the user
// types into the program, it also makes the user's terminal raw: Ctrl-C is then a key for
// the program, which echoes and edits lines by itself. giveBack undoes that; it must be
// called on every path, also when the goroutine panics, and only its first call counts.
func (c *console) lend(steps *sandbox.Terminal) (giveBack func() error, err error) {
	nothing := func() error { return nil }
	if steps == nil || c.terminal == nil {
		return nothing, nil
	}
	user, err := terminal.ConsoleFromFile(c.terminal)
	if err != nil {
		return nothing, fmt.Errorf("use the terminal: %w", err)
	}
	stopFollowing, err := followSize(user, steps)
	if err != nil {
		return nothing, err
	}
	if c.input == nil || c.input.from.file != c.terminal {
		return stopFollowing, nil
	}
	giveBack = sync.OnceValue(func() error {
		err := user.Reset()
		if errors.Is(err, unix.EIO) {
			err = nil // the user has closed it, and SIGHUP says so
		}
		return errors.Join(err, stopFollowing())
	})
	if err := makeRaw(user); err != nil {
		return nothing, errors.Join(fmt.Errorf("make the terminal raw: %w", err), giveBack())
	}
	return giveBack, nil
}

// makeRaw also turns off the terminal's processing of output, which SetRaw leaves on:
// output has passed through the step's terminal already, and where a program made "\n"
// move down only, it must not also begin a line here.
func makeRaw(user terminal.Console) error {
	if err := user.SetRaw(); err != nil {
		return err
	}
	settings, err := unix.IoctlGetTermios(int(user.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Oflag &^= unix.OPOST
	return unix.IoctlSetTermios(int(user.Fd()), unix.TCSETS, settings)
}

// followSize resizes the program's terminal whenever the user's is resized, until it is
// stopped.
func followSize(user terminal.Console, steps *sandbox.Terminal) (stop func() error, err error) {
	changes, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changes, unix.SIGWINCH) // before the first look, so that no change is missed
	if err := copySize(user, steps); err != nil {
		signal.Stop(changes)
		return nil, err
	}
	var failed error
	go func() {
		defer close(done)
		defer crash.Recover(&failed)
		for range changes {
			if err := copySize(user, steps); err != nil {
				failed = err
			}
		}
	}()
	return sync.OnceValue(func() error {
		signal.Stop(changes)
		close(changes)
		<-done
		return failed
	}), nil
}

// copySize leaves the usual size when the user's terminal does not know its own, as that
// of script(1) in a CI job does not.
func copySize(user terminal.Console, steps *sandbox.Terminal) error {
	size, err := user.Size()
	if err != nil {
		return fmt.Errorf("read the terminal's size: %w", err)
	}
	if size.Width == 0 || size.Height == 0 {
		return nil
	}
	return steps.Resize(size.Width, size.Height)
}

package engine

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// lendTerminal has a step's terminal follow the size of the user's and, when
// the user types into the step, makes the user's one raw: Ctrl-C is then a key
// for the step, which echoes and edits lines by itself. giveBack undoes it; it
// must be called on every path, also when the goroutine panics, and does
// nothing when it has been called before.
func (r *run) lendTerminal(n *node, steps *sandbox.Terminal) (giveBack func() error, err error) {
	nothing := func() error { return nil }
	if steps == nil || r.o.Terminal == nil {
		return nothing, nil
	}
	user, err := console.ConsoleFromFile(r.o.Terminal)
	if err != nil {
		return nothing, fmt.Errorf("use the terminal: %w", err)
	}
	stopFollowing, err := followSize(user, steps)
	if err != nil {
		return nothing, err
	}
	if n.step.Stdin != pipeline.StdinInherited || r.o.Stdin != r.o.Terminal {
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

// makeRaw also has the terminal show what comes as it is, which SetRaw does not:
// it has come through the step's terminal, and where a program has turned
// "\n" into a mere step down, it must not begin a line here.
func makeRaw(user console.Console) error {
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

// followSize resizes a step's terminal as the user's one is resized, until it
// is stopped.
func followSize(user console.Console, steps *sandbox.Terminal) (stop func() error, err error) {
	changes, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changes, unix.SIGWINCH) // before the first look, so that no change is missed
	if err := copySize(user, steps); err != nil {
		signal.Stop(changes)
		return nil, err
	}
	var failed error
	go func() {
		defer close(done)
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

// copySize leaves the usual size where the user's terminal does not know its
// own, as that of script(1) in a CI job.
func copySize(user console.Console, steps *sandbox.Terminal) error {
	size, err := user.Size()
	if err != nil {
		return fmt.Errorf("read the terminal's size: %w", err)
	}
	if size.Width == 0 || size.Height == 0 {
		return nil
	}
	return steps.Resize(size.Width, size.Height)
}

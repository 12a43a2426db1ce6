package sandbox

import (
	"cmp"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// endAgain is the time between two checks of a terminal whose input has ended. The kernel does not
// notify a master when its terminal leaves canonical mode or when a program reads from it.
const endAgain = 20 * time.Millisecond

// maxEnds is the number of times that the end of file is typed into a program that reads keys and
// continues. Shells with bash's IGNOREEOF exit at the 10th. A program that treats Ctrl-D as an
// ordinary key, such as a pager, gets no more after this number.
const maxEnds = 32

const ctrlD = '\x04'

// typist writes to a terminal and knows whether a line has been begun.
type typist struct {
	to      io.Writer
	atStart bool
	ends    int // ends of file typed since the terminal was last seen in canonical mode
}

func (w *typist) Write(p []byte) (int, error) {
	if len(p) > 0 {
		w.atStart = p[len(p)-1] == '\n' || p[len(p)-1] == '\r'
	}
	return w.to.Write(p)
}

// end types Ctrl-D: the first one ends a line that was begun, and only at the start of a line does
// it mean end of file (termios(3), VEOF).
func (w *typist) end() error {
	keys := "\x04\x04"
	if w.atStart {
		keys = "\x04"
	}
	_, err := io.WriteString(w.to, keys)
	return err
}

// endAs types the end of file again into a terminal with these settings, on which a program finds
// nothing to read.
func (w *typist) endAs(settings *unix.Termios) error {
	key := cmp.Or(settings.Cc[unix.VEOF], ctrlD)
	switch {
	case settings.Lflag&unix.ICANON != 0:
		w.ends = 0
	case settings.Cc[unix.VMIN] == 0: // reads do not wait for ever
		w.ends = 0
		return nil
	case w.ends == maxEnds:
		return nil
	case !w.atStart: // a program that edits lines itself ends only at the start of one
		key, w.atStart = '\r', true
	default:
		w.ends++
	}
	_, err := w.to.Write([]byte{key})
	return err
}

// stayAtEnd types the end of file again whenever the step could read the terminal and wait, until
// the step has ended. A single Ctrl-D is not enough: programs with readline turn canonical mode off,
// and what was typed before is lost; others discard it before they ask; and each end of file serves
// one read only.
func (t *Terminal) stayAtEnd(typed *typist) {
	look := time.NewTicker(endAgain)
	defer look.Stop()
	for {
		select {
		case <-t.ended:
			return
		case <-look.C:
		}
		if err := t.endAgain(typed); err != nil {
			return // the step is gone, or is being removed
		}
	}
}

// endAgain types the end of file unless there is something to read.
func (t *Terminal) endAgain(typed *typist) error {
	t.held.Lock()
	defer t.held.Unlock()
	if t.slave == nil {
		return os.ErrClosed
	}
	slave := int(t.slave.Fd())
	polled := []unix.PollFd{{Fd: int32(slave), Events: unix.POLLIN}}
	switch n, err := unix.Poll(polled, 0); {
	case errors.Is(err, unix.EINTR) || n > 0:
		return nil
	case err != nil:
		return os.NewSyscallError("poll", err)
	}
	settings, err := unix.IoctlGetTermios(slave, unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("TCGETS", err)
	}
	return typed.endAs(settings)
}

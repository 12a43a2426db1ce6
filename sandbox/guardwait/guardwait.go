// Package guardwait is where a run's guard waits for the end of the run.
//
// A guard hardly ever has anything else to do: its run ends well and kills it. So it waits before
// the rest of the program is initialised, which takes more time than everything that it does.
// Importing this package is all that it takes. The language initialises, of the packages whose
// imports are ready, the one whose path sorts first; this one imports little and so comes early. If
// that were to change, a guard would cost more and work as before.
//
// It is not for the clearing away that may follow: that is sandbox.Guard's.
package guardwait

import (
	"os"
	"os/signal"
	"syscall"
)

// Variable is set in the environment of a guard and of no other process. Its standard input is a
// pipe whose other end the run holds.
const Variable = "STEPEXEC_GUARD_WAITS"

func init() {
	if os.Getenv(Variable) == "" {
		return
	}
	os.Unsetenv(Variable) // what the guard calls is no guard
	// Signals are for the run: whoever ends a whole group of processes by one needs the guard most
	// of all. They are caught and not ignored, which the runtime would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	// Nothing is ever written to the pipe: it ends when the run's process does. sandbox.Guard reads
	// the end once more, and any error.
	for {
		n, err := syscall.Read(syscall.Stdin, make([]byte, 1))
		if n <= 0 && err != syscall.EINTR {
			return
		}
	}
}

package main

import (
	"context"
	"errors"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// guardCommand is how a run's guard is started; it has the name of this program
// for whoever looks at a list of processes.
func guardCommand() []string { return []string{os.Args[0], guardName} }

const guardName = "guard"

// guard is no command for people: a run starts it beside itself. It is not one of newRoot's, which take a tenth of the
// time that its start does, next to the first container's.
func guard(args []string) error {
	if len(args) != 2 {
		return errors.New("guard a run: only stepexec itself starts a guard")
	}
	// Signals are for the run: whoever ends a whole group of processes by one needs the guard most of all.
	// They are caught and not ignored, which the runtime would inherit.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	return sandbox.Guard(context.Background(), os.Stdin, args[0], args[1])
}

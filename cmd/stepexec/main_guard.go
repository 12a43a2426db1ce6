package main

import (
	"context"
	"errors"
	"os"

	"github.com/stepexec/stepexec/sandbox"
)

// guardCommand returns the command that starts a run's guard. It has this program's name, for
// people who look at a list of processes.
func guardCommand() []string { return []string{os.Args[0], guardName} }

const guardName = "guard"

// guard is a command that a run starts beside itself. It is not for people, and bypasses newRoot.
func guard(args []string) error {
	if len(args) != 2 {
		return errors.New("guard a run: only stepexec itself starts a guard")
	}
	return sandbox.Guard(context.Background(), os.Stdin, args[0], args[1])
}

package main

import (
	"context"
	"errors"
	"os"

	"github.com/stepexec/stepexec/sandbox"
)

// guardCommand is how a run's guard is started; it has the name of this program
// for whoever looks at a list of processes.
func guardCommand() []string { return []string{os.Args[0], guardName} }

const guardName = "guard"

// guard is no command for people: a run starts it beside itself. It is not one of newRoot's, which it does without.
func guard(args []string) error {
	if len(args) != 2 {
		return errors.New("guard a run: only stepexec itself starts a guard")
	}
	return sandbox.Guard(context.Background(), os.Stdin, args[0], args[1])
}

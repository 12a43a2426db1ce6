package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/sandbox"
)

// guardCommand is how a run's guard is started; it has the name of this program
// for whoever looks at a list of processes.
func guardCommand() []string { return []string{os.Args[0], "guard"} }

// newGuard is no command for people: a run starts it beside itself.
func newGuard() *cobra.Command {
	return &cobra.Command{
		Use:    "guard DIR RUNTIME",
		Short:  "Clear away a run when its process has died",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Signals are for the run: whoever ends a whole group of processes
			// by one needs the guard most of all.
			return sandbox.Guard(context.WithoutCancel(cmd.Context()), os.Stdin, args[0], args[1])
		},
	}
}

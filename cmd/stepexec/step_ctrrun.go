package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// newCtrRun returns `stepexec step` with its arguments in ctr's order.
func newCtrRun(kill <-chan struct{}) *cobra.Command {
	o := &stepOptions{kill: kill}
	cmd := &cobra.Command{
		Use:   "ctr-run [flags] IMAGE ID [COMMAND [ARG...]]",
		Short: "Run one command in an image, with the arguments of ctr run",
		Long: `Run one command in an image, as stepexec step does, with the arguments of ctr run: the
ID of the container follows IMAGE. It names the step in messages, and need not be unique.
Flags, output and exit codes are those of stepexec step.`,
		Example: `  stepexec ctr-run --rm docker.io/library/alpine:latest test cat /etc/os-release
  stepexec ctr-run --rm --net-host --mount type=bind,src=/etc,dst=/host-etc,options=rbind:ro \
    docker.io/library/alpine:latest test ls /host-etc`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("ctr-run: needs an IMAGE and the ID of the container behind it (without an ID: stepexec step)")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.keys.set("ID", "name", args[1])
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), append(args[:1:1], args[2:]...))
		},
	}
	o.add(cmd.Flags())
	return cmd
}

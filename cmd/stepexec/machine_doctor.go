package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/doctor"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
)

// tryTime bounds the container that doctor starts, which takes about 100 ms.
const tryTime = time.Minute

// doctorOptions are the flags of `stepexec doctor`.
type doctorOptions struct {
	root, runtime, settings, output string
	noPivot, build                  bool
}

func newDoctor() *cobra.Command {
	o := &doctorOptions{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this machine can run steps",
		Long: `Check the kernel, the state root, cgroups, the runtime and everything else that steps
need, start a container that does nothing, and print what works, what does not, and the
command that fixes it. Nothing is changed.

The exit code is 0 if stepexec run would work for this user, and 1 otherwise.`,
		Example: "  stepexec doctor\n  stepexec doctor --build\n  stepexec doctor --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.output, "output", "plain", "how to show the checks: plain or json")
	flags.BoolVar(&o.build, "build", false, "say also which ways of building images in steps work here")
	flags.StringVar(&o.settings, "settings", "", "settings `FILE` (default: $"+settings.Variable+", or the machine's or user's)")
	o.add(cmd)
	return cmd
}

func (o *doctorOptions) add(cmd *cobra.Command) {
	addRoot(cmd.Flags(), &o.root)
	addRuntime(cmd.Flags(), &o.runtime)
	addNoPivot(cmd.Flags(), &o.noPivot)
}

func (o *doctorOptions) run(ctx context.Context, stdout io.Writer) error {
	show := doctor.Print
	switch o.output {
	case "plain":
	case "json":
		show = doctor.PrintJSON
	default:
		return fmt.Errorf("--output %s: must be plain or json", o.output)
	}
	machine := doctor.New(o.root, o.runtime)
	machine.Container = o.tryContainer
	machine.Settings = func() error {
		_, err := settings.Load(o.settings)
		return err
	}
	results := machine.Examine(ctx)
	if o.build {
		results = append(results, machine.Builds(results)...)
	}
	if err := show(stdout, results); err != nil {
		return err
	}
	if !doctor.Works(results) {
		return exitError(1)
	}
	return nil
}

// tryContainer starts a separate process: a normal user's process continues in a user namespace,
// while this one must look at the machine from outside.
func (o *doctorOptions) tryContainer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	args := []string{"doctor-container", "--root", o.root, "--runtime", o.runtime}
	if o.noPivot {
		args = append(args, "--no-pivot")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	try := exec.CommandContext(ctx, self, args...)
	try.Cancel = func() error { return try.Process.Signal(os.Interrupt) } // it cleans up after itself
	try.WaitDelay = tryTime
	var said bytes.Buffer
	try.Stderr = &said
	err = try.Run()
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		return errors.New(strings.ReplaceAll(strings.TrimPrefix(text, "stepexec: "), "\n", "; "))
	}
	return err
}

// newDoctorContainer returns the command that doctor calls.
func newDoctorContainer() *cobra.Command {
	o := &doctorOptions{}
	cmd := &cobra.Command{
		Use:    "doctor-container",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return doctor.RunContainer(cmd.Context(), sandbox.Options{Root: o.root, Runtime: o.runtime, NoPivot: o.noPivot})
		},
	}
	o.add(cmd)
	return cmd
}

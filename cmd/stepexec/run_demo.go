package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/demo"
)

// demoToken is the secret of the demo: anybody may know it.
const demoToken = "correct-horse-battery-staple"

func newDemo(kill <-chan struct{}) *cobra.Command {
	var root, output string
	var reports []string
	var print bool
	cmd := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Run an example pipeline that needs no registry and no network",
		Long: `Run a pipeline of six steps and a service: steps that run at once, a service that
one of them queries, a secret that is masked, a step for failures only. Its image is
made on the spot and holds only stepexec itself, so nothing is downloaded.

With DIR, the pipeline and its image stay there, to look at, to change and to run:
stepexec run DIR/pipeline.yml --secret token=anything`,
		Example: `  stepexec demo
  stepexec demo --report report.html
  stepexec demo --print
  stepexec demo my-demo`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if print {
				_, err := io.WriteString(cmd.OutOrStdout(), demo.Pipeline())
				return err
			}
			flags := []string{"--root", root, "--output", output}
			for _, file := range reports {
				flags = append(flags, "--report", file)
			}
			return runDemo(cmd, newRun(kill), firstOf(args), flags)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&output, "output", "", "how to show the run: `FORMAT` "+inWords(outputFormats())+" (default: tty on a terminal, else plain)")
	flags.StringArrayVar(&reports, "report", nil, "write a report to `[KIND=]FILE` at the end, as for run (may be repeated)")
	flags.BoolVar(&print, "print", false, "print the pipeline, and run nothing")
	complete(cmd, "output", outputFormats()...)
	addRoot(flags, &root)
	return cmd
}

// runDemo writes the demo into a folder, a temporary one where dir is "", and runs it by run.
func runDemo(cmd, run *cobra.Command, dir string, flags []string) (err error) {
	port, err := unusedPort()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "stepexec-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	file, err := demo.Write(dir, program)
	if err != nil {
		return err
	}
	run.SetArgs(append([]string{file, "--no-project-file", "--env", "PORT=" + strconv.Itoa(port), "--secret", "token=" + demoToken}, flags...))
	run.SetOut(cmd.OutOrStdout())
	run.SilenceErrors, run.SilenceUsage = true, true
	if err := run.ExecuteContext(cmd.Context()); err != nil {
		return err
	}
	if len(cmd.Flags().Args()) > 0 {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "\nThe pipeline is %s. Run it again: stepexec run %s --secret token=anything\n", file, filepath.Clean(file))
	}
	return err
}

// unusedPort returns a port of loopback that nobody listens on now.
func unusedPort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/policy"
)

// detachedStage is the environment variable that marks a process started by detach.
const detachedStage = "_STEPEXEC_DETACHED"

// detachedLine begins the last line that such a process prints, followed by the run's id.
const detachedLine = "stepexec detached "

func isDetached() bool { return os.Getenv(detachedStage) != "" }

// detachable makes a command with the flag --detach continue in a separate process.
func detachable(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if wanted, err := cmd.Flags().GetBool("detach"); err != nil || !wanted || isDetached() {
			return run(cmd, args)
		}
		return detach(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// detach runs this command line once more, in its own session, and prints the run's id as soon as
// its step has started. If the step does not start, detach returns the exit code. From then on only
// stepexec itself looks after the run.
func detach(ctx context.Context, stdout, stderr io.Writer) error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	child := exec.Command("/proc/self/exe") // it outlives ctx
	child.Args, child.Env = os.Args, append(os.Environ(), detachedStage+"=1")
	child.Stdout, child.Stderr = out, out
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	out.Close()
	if err != nil {
		return fmt.Errorf("start stepexec in the background: %w", err)
	}
	forget := context.AfterFunc(ctx, func() { _ = child.Process.Signal(unix.SIGTERM) }) // an error means that it has already ended
	defer forget()
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadString('\n')
		if run, started := strings.CutPrefix(line, detachedLine); started {
			_, err := io.WriteString(stdout, run)
			return err
		}
		if _, err := io.WriteString(stderr, line); err != nil {
			return err
		}
		if err != nil {
			break // end of the output: the command was not started
		}
	}
	if err := child.Wait(); child.ProcessState == nil {
		return err
	}
	if code := child.ProcessState.ExitCode(); code > 0 {
		return exitError(code)
	}
	return fmt.Errorf("stepexec in the background ended before the command was started: %v", child.ProcessState)
}

// tellStarted passes events on, and prints the run's id when its step starts. After that nobody
// listens.
func tellStarted(next func(*event.Event)) func(*event.Event) {
	var run string
	return func(e *event.Event) {
		if e.Kind == event.RunStarted {
			run = e.Run
		}
		next(e)
		if e.Kind != event.StepStarted {
			return
		}
		fmt.Println(detachedLine + run)
		if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
			for fd := range 3 {
				_ = unix.Dup3(int(null.Fd()), fd, 0) // on an error the stream has no reader, which has the same effect
			}
			_ = null.Close() // nothing was written to it
		}
	}
}

// createIDFile creates an empty file for a run's ID, and refuses one that exists. The file stays
// open, so that the ID is written to it, whatever somebody puts at its name. It returns nil if the
// step has no such file.
func createIDFile(plan *policy.Plan) (*os.File, error) {
	name := plan.Plan().Steps[0].Advanced.IDFile
	if name == "" {
		return nil, nil
	}
	place := beneath.At(name, append(plan.Roots(), plan.Plan().WorkspaceSource)...)
	file, err := place.OpenFile(os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("--cidfile %s: the file exists (remove it: it may be of a run that goes on)", name)
	}
	if err != nil {
		return nil, fmt.Errorf("--cidfile: %w", err)
	}
	return file, nil
}

// writeIDFile writes the ID of a run that has started.
func writeIDFile(file *os.File, id string) error {
	if file == nil {
		return nil
	}
	if _, err := file.WriteAt([]byte(id), 0); err != nil {
		return fmt.Errorf("--cidfile: %w", err)
	}
	return nil
}
